"""HZAI-ZJNU/SCSA: ResNet-50 and 101 and MobileNetV2 with SCSA (arXiv:2407.05128).

The repository is a fork of mmpretrain; MobileNetV2's chain is in mobilenet_v2.py.
"""

from mmattn.weights.source import Source

SOURCE = Source(
    name='scsa',
    origin='HZAI-ZJNU/SCSA',
    mark=r'\.local_dwc\.weight$',
    example='layer1.0.attn.local_dwc.weight',
    renames={r'(layer\d\.\d+)\.attn\.': r'\1.attn_inner.'},
    attention=('SCSA',),
)
