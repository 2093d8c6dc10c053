"""timm: resnet*, resnet*d, resnext*, seresnet*, ecaresnet*d, res2net* and mobilenetv2_100.

Same layers and names as torchvision's but for the attention, which is called se whatever
it is, and MobileNetV2, whose names are those of its EfficientNet.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='timm (huggingface/pytorch-image-models)',
    mark=r'\.se\.(conv|fc1)\.weight$|^conv_stem\.weight$|^conv1\.0\.weight$',
    example='layer1.0.se.fc1.weight',
    renames={r'(layer\d\.\d+)\.se\.': r'\1.attn_outer.'},
    attention=('SE', 'ECA'),
    note='no shape tells anti-aliasing (resnetaa, resnetblur) or another activation than ReLU',
    alike=('torchvision', 'res2net'),
    commonness=3,
)
