"""RetinaNet, ResNet-50 with SCSA, COCO, 12 epochs (SCSA paper, table 3).

Starts from torchvision's weights; warm_start keeps their outputs at step 0.
The learning rate is the paper's for 2 images; --auto-scale-lr adapts it.
"""

_base_ = ['mmdet::retinanet/retinanet_r50_fpn_1x_coco.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.ResNet', attention=dict(type='SCSA', warm_start=True)),
)
optim_wrapper = dict(optimizer=dict(lr=0.00125))
auto_scale_lr = dict(base_batch_size=2)
