"""A short training of any task: two epochs of six iterations."""

mean_std = dict(mean=[128.0] * 3, std=[64.0] * 3)
backbone = dict(
    type='mmattn.ResNet',
    depth=18,
    num_stages=2,
    out_indices=(0, 1),
    strides=(2, 2),
    dilations=(1, 1),
    norm_eval=False,
    style='pytorch',
    attention=dict(type='SE'),
)
train_dataloader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler'))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False)
)
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = {}
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
    clip_grad=dict(max_norm=5),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8),
    dict(type='MultiStepLR', milestones=[1]),
]
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='auto', rule='greater'),
    logger=dict(type='LoggerHook', interval=1),
)
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
env_cfg = dict(dist_cfg=dict(backend='gloo'))
survival = dict(save_every='4it')
log_level = 'WARNING'
