"""Backbones for 32 x 32 images, with the same ``attention`` argument."""

from mmattn.backbones.cifar.densenet import DenseNetCIFAR
from mmattn.backbones.cifar.res2net import Res2NetCIFAR, SERes2NetCIFAR
from mmattn.backbones.cifar.resnet import ResNetCIFAR

__all__ = ['DenseNetCIFAR', 'Res2NetCIFAR', 'ResNetCIFAR', 'SERes2NetCIFAR']
