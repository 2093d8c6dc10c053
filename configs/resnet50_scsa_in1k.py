"""ResNet-50 with SCSA, ImageNet-1K from scratch, 100 epochs (SCSA paper, table 2).

Batch 128 on one GPU, learning rate 0.05, mixed precision, as the paper trains.
"""

_base_ = ['mmpretrain::resnet/resnet50_8xb32_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA')))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.05))
auto_scale_lr = dict(base_batch_size=128)
