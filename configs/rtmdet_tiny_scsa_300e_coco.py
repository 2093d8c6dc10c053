"""RTMDet-tiny with SCSA in every CSPNeXt block, COCO, 300 epochs.

Starts from mmdet's CSPNeXt-tiny of ImageNet; warm_start keeps its outputs at step 0.
"""

_base_ = ['mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py']
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='mmattn.AnyBackbone',
        network='CSPNeXt',
        attention=dict(type='SCSA', warm_start=True),
    ),
)
