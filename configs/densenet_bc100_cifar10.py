"""DenseNet-BC-100 (k = 12), CIFAR-10, 300 epochs (SE-Res2Net report, table 1)."""

_base_ = ['_base_/cifar10_300e.py']
model = dict(
    backbone=dict(type='mmattn.DenseNetCIFAR', depth=100, growth_rate=12),
    head=dict(in_channels=342),
)
