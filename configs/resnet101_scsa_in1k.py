"""ResNet-101 with SCSA, ImageNet-1K from scratch, 100 epochs (SCSA paper, table 2)."""

_base_ = ['./resnet50_scsa_in1k.py']
model = dict(backbone=dict(depth=101))
