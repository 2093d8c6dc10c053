"""Jongchan/attention-module: CBAM-ResNet-18 to 101 (arXiv:1807.06521)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='Jongchan/attention-module',
    mark=r'\.cbam\.',
    example='layer1.0.cbam.ChannelGate.mlp.1.weight',
    renames={r'(layer\d\.\d+)\.cbam\.': r'\1.attn_outer.'},
    attention=('CBAM',),
)
