"""Faster R-CNN, SE-Res2Net-50 (26w x 8s), COCO, 12 epochs; attention=None is Res2Net-50.

Starts from mmpretrain's Res2Net-50, which has these eight subsets; warm_start keeps its outputs
at step 0.
"""

_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='mmattn.SERes2Net',
        depth=50,
        scales=8,
        base_width=26,
        deep_stem=False,
        avg_down=False,
        attention=dict(type='SE', warm_start=True),
        init_cfg=dict(type='Pretrained', checkpoint='mmcls://res2net50_w26', prefix='backbone.'),
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.0025))
auto_scale_lr = dict(base_batch_size=2)
