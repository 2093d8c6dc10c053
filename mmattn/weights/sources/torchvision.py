"""torchvision: ResNet-18 to 152, ResNeXt, wide ResNet and MobileNetV2.

The names of its ResNets are ours; MobileNetV2's are in backbones/mobilenet_v2.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='torchvision',
    mark=r'^conv1\.weight$|^features\.0\.0\.weight$',
    example='layer1.0.conv1.weight',
    commonness=4,
)
