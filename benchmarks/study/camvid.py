"""The study's segmenter: UperNet R18 on CamVid, from scratch, a few minutes on two cores."""

_base_ = ['../../configs/upernet_r50_scsa_camvid.py']
max_iters = 200
model = dict(
    backbone=dict(depth=18, attention=None),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=0.9, eta_min=1e-5, by_epoch=False, begin=20, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=50))
