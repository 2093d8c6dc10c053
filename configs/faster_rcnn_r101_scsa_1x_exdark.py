"""Faster R-CNN, ResNet-101 with SCSA, ExDark, 12 epochs (SCSA paper, table 4)."""

_base_ = ['faster_rcnn_r50_scsa_1x_exdark.py']
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
)
