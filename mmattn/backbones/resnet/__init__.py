"""ResNet, ResNetV1c, ResNetV1d and ResNeXt; their blocks serve Res2Net and the CIFAR nets."""

from mmattn.backbones.resnet.blocks import BasicBlock, Bottleneck, ResidualBlock
from mmattn.backbones.resnet.network import ResNet
from mmattn.backbones.resnet.variants import ResNetV1c, ResNetV1d, ResNeXt

__all__ = [
    'BasicBlock',
    'Bottleneck',
    'ResNeXt',
    'ResNet',
    'ResNetV1c',
    'ResNetV1d',
    'ResidualBlock',
]
