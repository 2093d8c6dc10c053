"""Faster R-CNN, ResNet-50 with SCSA, FLIR ADAS v2 thermal, 12 epochs (SCSA paper, table 4).

Trains on images_thermal_train, evaluates on images_thermal_val; the paper does not say on which
it reports. Classes without a box in the validation images do not count in COCO's AP.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/flir.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA', warm_start=True)),
    roi_head=dict(bbox_head=dict(num_classes=16)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
auto_scale_lr = dict(base_batch_size=2)
