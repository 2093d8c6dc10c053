"""Swin-T with SCSA, ImageNet-1K from scratch, 300 epochs (SCSA paper, table 2).

Batch 128 on one GPU, learning rate 0.000125, mixed precision, as the paper trains.
"""

_base_ = ['mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(type='mmattn.SwinTransformer', attention=dict(type='SCSA')))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.000125))
auto_scale_lr = dict(base_batch_size=128)
