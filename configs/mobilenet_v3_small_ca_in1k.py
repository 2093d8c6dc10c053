"""MobileNetV3-Small with CA after every depthwise convolution, ImageNet-1K, 600 epochs."""

_base_ = ['mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb128_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.AnyBackbone', network='MobileNetV3', attention=dict(type='CA')),
)
