"""Faster R-CNN, ResNet-101 with SCSA, COCO, 12 epochs (SCSA paper, table 3)."""

_base_ = ['./faster_rcnn_r50_scsa_1x_coco.py']
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
)
