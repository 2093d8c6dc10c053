"""Faster R-CNN, ResNet-50 with SCSA, Pascal VOC 07+12, 12 epochs (SCSA paper, table 4).

COCO-style AP on VOC 07 test, as the paper reports. The xml files are read directly
(mmattn.VOCDataset), so that nothing has to be converted, --data-root is the devkit, and the
boxes are the same as those of tools/dataset_converters/voc_to_coco.py. The paper does not say
the image size; this is the one of mmdet's own VOC configs.
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '_base_/datasets/voc0712.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA', warm_start=True)),
    roi_head=dict(bbox_head=dict(num_classes=20)),
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
auto_scale_lr = dict(base_batch_size=2)
