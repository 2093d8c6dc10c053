_base_ = ['../../camvid.py']
model = dict(backbone=dict(attention=dict(_delete_=True, type='ELA')))
randomness = dict(seed=4)
