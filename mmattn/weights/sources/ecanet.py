"""BangguWu/ECANet: ECA-ResNet-18 to 152 and ECA-MobileNetV2 (arXiv:1910.03151)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='BangguWu/ECANet',
    mark=r'\.eca\.conv\.weight$|^features\.\d+\.conv\.\d\.conv\.weight$',
    example='layer1.0.eca.conv.weight',
    renames={r'(layer\d\.\d+)\.eca\.': r'\1.attn_outer.'},
    attention=('ECA',),
)
