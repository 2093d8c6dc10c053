"""Res2Net-29, CIFAR-10, 300 epochs (SE-Res2Net report, table 1)."""

_base_ = ['_base_/cifar10_300e.py']
model = dict(
    backbone=dict(type='mmattn.Res2NetCIFAR', depth=29),
    head=dict(in_channels=208),
)
