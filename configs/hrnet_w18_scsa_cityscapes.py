"""HRNetV2-W18 with SCSA and an FCN head, Cityscapes, 80k iterations.

Batch 4. Starts from ImageNet weights; warm_start keeps their outputs at step 0. The branch of the
highest resolution stays plain: its 18 channels are no multiple of SCSA's four groups.
"""

_base_ = [
    '_base_/models/fcn_hr18.py',
    '_base_/datasets/cityscapes.py',
    '_base_/schedules/80k.py',
    '_base_/runtime/mmseg.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        type='mmattn.AnyBackbone',
        network='HRNet',
        attention=dict(
            type='SCSA',
            at=['layer1.*.conv3:input', 'stage*.*.branches.[1-3].*.bn2'],
            warm_start=True,
        ),
    ),
)
