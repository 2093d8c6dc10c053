"""The same with the report's SE-Res2Net-29."""

_base_ = ['cifar10_res2net29.py']
model = dict(backbone=dict(_delete_=True, type='mmattn.SERes2NetCIFAR', depth=29))
