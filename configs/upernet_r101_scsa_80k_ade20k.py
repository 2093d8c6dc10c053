"""UperNet, ResNet-101 with SCSA, ADE20K, 80k iterations (SCSA paper, table 5)."""

_base_ = ['./upernet_r50_scsa_80k_ade20k.py']
model = dict(
    backbone=dict(
        depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')
    ),
)
