"""MobileNetV2; it inherits from mmpretrain's."""

from mmattn.backbones.mobilenet_v2.network import InvertedResidual, MobileNetV2

__all__ = ['InvertedResidual', 'MobileNetV2']
