"""Faster R-CNN, ResNet-50 with SCSA, VisDrone2019-DET, 12 epochs (SCSA paper, table 4).

Ignored regions are treated as the benchmark does (mmattn.VisDroneDataset and VisDroneMetric);
the paper does not say whether it did, so that its figures may be those of plain COCO AP.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/visdrone.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA', warm_start=True)),
    roi_head=dict(bbox_head=dict(num_classes=10)),
    # No loss inside ignored regions: mmdet's default learns them as background.
    train_cfg=dict(
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=dict(assigner=dict(ignore_iof_thr=0.5)),
    ),
    # As many detections as the benchmark counts.
    test_cfg=dict(rcnn=dict(max_per_img=500)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
auto_scale_lr = dict(base_batch_size=2)
