"""wofmanaf/SA-Net: SA-ResNet-50 and 101 (arXiv:2102.00240)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='wofmanaf/SA-Net',
    mark=r'\.sa\.cweight$',
    example='layer1.0.sa.cweight',
    renames={r'(layer\d\.\d+)\.sa\.': r'\1.attn_outer.'},
    attention=('SA',),
)
