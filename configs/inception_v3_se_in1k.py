"""InceptionV3 with SE on every Inception module, ImageNet-1K from scratch, 100 epochs."""

_base_ = ['mmpretrain::inception_v3/inception-v3_8xb32_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.AnyBackbone', network='InceptionV3', attention=dict(type='SE')),
)
