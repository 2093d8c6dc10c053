"""megvii-research/RG-SENet_SP-SENet: RGSE-ResNet and -ResNeXt (Pattern Recognition 2022)."""

from mmattn.weights.source import CheckpointSource

# Both nets of the repository name their layers like this.
RENAMES = {
    r'layer(\d)\.layer\1_block_(\d+)\.(?:conv|bn)_((?:conv|bn)\d)\.': r'layer\1.\2.\3.',
    r'layer(\d)\.layer\1_block_(\d+)\.shortcut\.shortcut_conv\.': r'layer\1.\2.downsample.0.',
    r'layer(\d)\.layer\1_block_(\d+)\.shortcut\.shortcut_bn\.': r'layer\1.\2.downsample.1.',
    r'layer(\d)\.layer\1_block_(\d+)\.(fc_)': r'layer\1.\2.attn_outer.\3',
}

SOURCE = CheckpointSource(
    origin='megvii-research/RG-SENet_SP-SENet',
    mark=r'\.fc_spatial\.fc_spatial\.',
    example='layer1.layer1_block_0.fc_spatial.fc_spatial.weight',
    renames=RENAMES,
    attention=('RGSE',),
)
