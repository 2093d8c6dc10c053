"""SE-Res2Net-29, CIFAR-100, 300 epochs (SE-Res2Net report's protocol)."""

_base_ = ['_base_/cifar100_300e.py']
model = dict(
    backbone=dict(type='mmattn.SERes2NetCIFAR', depth=29, attention=dict(type='SE')),
    head=dict(in_channels=208),
)
