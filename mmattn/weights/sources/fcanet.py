"""cfzd/FcaNet: FcaNet-34 to 152 (arXiv:2012.11879)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='cfzd/FcaNet',
    mark=r'\.att\.(fc\.0|dct_layer)\.',
    example='layer1.0.att.fc.0.weight',
    renames={r'(layer\d\.\d+)\.att\.': r'\1.attn_outer.'},
    attention=('FCA',),
)
