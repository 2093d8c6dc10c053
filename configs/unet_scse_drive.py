"""U-Net with SCSE after every block of encoder and decoder, DRIVE, 40k iterations.

The places are those of Roy et al. (arXiv:1808.08127), which trained on scans of brain and body.
"""

_base_ = [
    '_base_/models/fcn_unet.py',
    '_base_/datasets/drive.py',
    '_base_/schedules/40k.py',
    '_base_/runtime/mmseg.py',
]
custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)
model = dict(
    backbone=dict(type='mmattn.AnyBackbone', network='UNet', attention=dict(type='SCSE')),
)
