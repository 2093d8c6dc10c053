"""torchvision: ResNet-18 to 152, ResNeXt, wide ResNet and MobileNetV2.

The names of its ResNets are ours; MobileNetV2's are in mobilenet_v2.py.
"""

from mmattn.weights.source import Source

SOURCE = Source(
    name='torchvision',
    origin='torchvision',
    mark=r'^conv1\.weight$|^features\.0\.0\.weight$',
    example='layer1.0.conv1.weight',
)
