"""UperNet, ResNet-50 with SCSA, ADE20K, 80k iterations (SCSA paper, table 5).

Batch 16 on one GPU. Starts from torchvision's weights; warm_start keeps their
outputs at step 0.
"""

_base_ = [
    '_base_/models/upernet_r50.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/80k.py',
    '_base_/runtime/mmseg.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(backbone=dict(attention=dict(type='SCSA', warm_start=True)))
train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=16)
