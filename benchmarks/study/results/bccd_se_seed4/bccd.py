_base_ = ['../../bccd.py']
model = dict(backbone=dict(attention=dict(_delete_=True, type='SE')))
randomness = dict(seed=4)
