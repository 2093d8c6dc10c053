"""Backbones with an ``attention`` argument, for mmdet, mmseg and mmpretrain."""

from mmattn.backbones.cifar import DenseNetCIFAR, Res2NetCIFAR, ResNetCIFAR, SERes2NetCIFAR
from mmattn.backbones.res2net import Res2Net, SERes2Net
from mmattn.backbones.resnet import ResNet, ResNetV1c, ResNetV1d, ResNeXt
from mmattn.registry import MODELS

__all__ = [
    'DenseNetCIFAR',
    'MobileNetV2',
    'RepVGG',
    'Res2Net',
    'Res2NetCIFAR',
    'ResNeXt',
    'ResNet',
    'ResNetCIFAR',
    'ResNetV1c',
    'ResNetV1d',
    'SERes2Net',
    'SERes2NetCIFAR',
    'SwinTransformer',
]


def __getattr__(name: str) -> type:
    """Import the backbones that inherit from mmpretrain when they are asked for."""
    if name in MODELS.lazy:
        return MODELS.get(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
