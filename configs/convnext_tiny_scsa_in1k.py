"""ConvNeXt-T with SCSA after every block, ImageNet-1K from scratch, 300 epochs."""

_base_ = ['mmpretrain::convnext/convnext-tiny_32xb128_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.AnyBackbone', network='ConvNeXt', attention=dict(type='SCSA')),
)
