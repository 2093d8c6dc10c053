"""CIFAR-10 by the protocol of the SE-Res2Net report; a config adds its backbone."""

_base_ = [
    'models/cifar_classifier.py',
    'datasets/cifar10_bs128.py',
    'schedules/cifar_300e.py',
    'mmpretrain::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
