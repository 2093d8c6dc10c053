"""YOLOX-tiny with ECA in every CSPDarknet block, COCO from scratch, 300 epochs."""

_base_ = ['mmdet::yolox/yolox_tiny_8xb8-300e_coco.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='mmattn.AnyBackbone',
        network='CSPDarknet',
        attention=dict(type='ECA'),
    ),
)
