"""ZjjConan/SimAM: SimAM-ResNet-18 to 101 and ResNeXt-50, -MobileNetV2 (ICML 2021).

SimAM has no parameters: its place shows in the numbers of the chain it sits in, and its
lambda nowhere. The published ImageNet models were trained with --attention_param 0.1.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='ZjjConan/SimAM',
    mark=r'^(backbone\.)?layer\d\.\d+\.conv2\.0\.weight$|^features\.\d+\.conv\.\d\.2\.weight$',
    example='layer1.0.conv2.0.weight',
    renames={r'(layer\d\.\d+)\.conv2\.0\.': r'\1.conv2.'},
    attention=('SimAM',),
    arguments=dict(e_lambda=0.1),
    note='e_lambda is not in the file; 0.1 is what the published models were trained with',
    positions=('before_norm2', 'before_depthwise_norm'),
)
