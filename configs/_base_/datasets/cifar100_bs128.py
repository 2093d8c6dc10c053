"""CIFAR-100 in batches of 128: padding by 4, random crop, random flip."""

_base_ = ['mmpretrain::_base_/datasets/cifar100_bs16.py']
train_dataloader = dict(batch_size=128, persistent_workers=True)
val_dataloader = dict(batch_size=128, persistent_workers=True)
test_dataloader = val_dataloader
