"""Mask R-CNN, ResNet-101 with SCSA, COCO, 12 epochs, as table 6 of the SCSA paper with R50."""

_base_ = ['./mask_rcnn_r50_scsa_1x_coco.py']
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
)
