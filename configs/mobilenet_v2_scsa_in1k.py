"""MobileNetV2 with SCSA, ImageNet-1K from scratch, 300 epochs (SCSA paper, table 2).

Batch 96 on one GPU, learning rate 0.045, mixed precision, as the paper trains.
"""

_base_ = ['mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(type='mmattn.MobileNetV2', attention=dict(type='SCSA')))
train_dataloader = dict(batch_size=96)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(lr=0.045))
auto_scale_lr = dict(base_batch_size=96)
