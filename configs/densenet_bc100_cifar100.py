"""DenseNet-BC-100 (k = 12), CIFAR-100, 300 epochs (SE-Res2Net report's protocol)."""

_base_ = ['_base_/cifar100_300e.py']
model = dict(
    backbone=dict(type='mmattn.DenseNetCIFAR', depth=100, growth_rate=12),
    head=dict(in_channels=342),
)
