"""With random crops, colours and flips, mixed images, and stochastic depth."""

_base_ = 'base.py'
default_scope = 'mmpretrain'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.4),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=32),
    dict(type='PackInputs'),
]
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=2, **_base_.mean_std),
    backbone=dict(_base_.backbone, out_indices=(1,), drop_path_rate=0.2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=128, topk=(1,)),
    train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
)
train_dataloader = dict(
    dataset=dict(
        type='CustomDataset', data_root='data', data_prefix='classes', pipeline=train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CustomDataset', data_root='data', data_prefix='classes', pipeline=test_pipeline
    )
)
val_evaluator = dict(type='Accuracy', topk=(1,))
