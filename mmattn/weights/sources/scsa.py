"""HZAI-ZJNU/SCSA: ResNet-50 and 101 and MobileNetV2 with SCSA (arXiv:2407.05128).

The repository is a fork of mmpretrain; MobileNetV2's chain is in backbones/mobilenet_v2.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='HZAI-ZJNU/SCSA',
    mark=r'\.local_dwc\.weight$',
    example='layer1.0.attn.local_dwc.weight',
    renames={r'(layer\d\.\d+)\.attn\.': r'\1.attn_inner.'},
    attention=('SCSA',),
)
