"""SE-ResNet without biases, of ZjjConan/SimAM and moskomule/senet.pytorch (arXiv:1709.01507)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='ZjjConan/SimAM (SE-ResNet), moskomule/senet.pytorch',
    mark=r'\.bn[23]\.1\.fc\.0\.weight$|\.se\.fc\.0\.weight$|^features\.\d+\.conv\.\d\.fc\.0\.weight$',
    example='layer1.0.bn3.1.fc.0.weight',
    renames={
        r'(layer\d\.\d+)\.bn[23]\.1\.': r'\1.attn_outer.',
        r'(layer\d\.\d+\.bn[23])\.0\.': r'\1.',
        r'(layer\d\.\d+)\.se\.': r'\1.attn_outer.',
    },
    attention=('SE',),
)
