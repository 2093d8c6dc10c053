"""Faster R-CNN, ResNet-50 with SCSA, ExDark, 12 epochs (SCSA paper, table 4).

Trains on ExDark's own training images, validates on its validation images, tests on its test
images; the paper does not say on which it reports.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/exdark.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA', warm_start=True)),
    roi_head=dict(bbox_head=dict(num_classes=12)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
auto_scale_lr = dict(base_batch_size=2)
