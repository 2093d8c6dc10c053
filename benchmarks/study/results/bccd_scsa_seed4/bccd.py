_base_ = ['../../bccd.py']
model = dict(backbone=dict(attention=dict(_delete_=True, type='SCSA')))
randomness = dict(seed=4)
