"""Res2Net-29 with SE on subsets 1 and 2, CIFAR-10 (SE-Res2Net report, table 4)."""

_base_ = ['./seres2net29_cifar10.py']
model = dict(
    backbone=dict(
        attention=[
            dict(type='SE', position='after_subset1'),
            dict(type='SE', position='after_subset2'),
        ]
    )
)
