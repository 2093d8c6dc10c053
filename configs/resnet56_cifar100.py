"""ResNet-56, CIFAR-100, 300 epochs (SE-Res2Net report's protocol)."""

_base_ = ['_base_/cifar100_300e.py']
model = dict(
    backbone=dict(type='mmattn.ResNetCIFAR', depth=56),
    head=dict(in_channels=64),
)
