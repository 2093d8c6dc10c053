"""houqb/CoordAttention: MobileNetV2 with coordinate attention (arXiv:2103.02907).

Its gates of the rows and columns are called conv2 and conv3; the place in the chain tells the
slot, see backbones/mobilenet_v2.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='houqb/CoordAttention',
    mark=r'^features\.\d+\.conv\.\d\.conv[123]\.',
    example='features.2.conv.6.conv1.weight',
    renames={
        r'(layer\d\.\d+\.attn_\w+)\.conv2\.': r'\1.conv_h.',
        r'(layer\d\.\d+\.attn_\w+)\.conv3\.': r'\1.conv_w.',
    },
    attention=('CA',),
)
