"""megvii-research/RG-SENet_SP-SENet: SPSE-ResNet and -ResNeXt (Pattern Recognition 2022)."""

from mmattn.weights.source import CheckpointSource
from mmattn.weights.sources.rgse import RENAMES

SOURCE = CheckpointSource(
    origin='megvii-research/RG-SENet_SP-SENet',
    mark=r'\.fc_spatial1\.',
    example='layer1.layer1_block_0.fc_spatial1.weight',
    renames=RENAMES,
    attention=('SPSE',),
)
