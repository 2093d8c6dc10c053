_base_ = ['../../camvid.py']
model = dict(backbone=dict(attention=dict(_delete_=True, type='CA')))
randomness = dict(seed=2)
