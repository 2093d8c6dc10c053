"""SE-Res2Net-50 (26w x 4s), ImageNet-1K, 100 epochs; attention=None is Res2Net-50."""

_base_ = [
    'mmpretrain::_base_/models/res2net50-w26-s4.py',
    'mmpretrain::_base_/datasets/imagenet_bs32_pil_resize.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    'mmpretrain::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(type='mmattn.SERes2Net', attention=dict(type='SE')))
