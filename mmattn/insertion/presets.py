"""Where attention goes in networks that people use: one entry for each kind, by its class.

'outer' is the end of a block, before its addition where that has a name of its own, 'inner' the
features inside of the block, 'before_norm' those in front of their norm. An entry serves the
classes of this name in the toolboxes, timm and torchvision, whose parts are called otherwise:
of the alternatives the first that is there counts. A subclass has its parent's.
"""

from collections.abc import Sequence

from torch import nn

from mmattn.insertion.patterns import Place, find_places
from mmattn.utils.errors import InvalidArgument, InvalidValue, UnknownName

PLACEMENTS = ('inner', 'outer', 'before_norm')
# Names of classes -> placement -> alternatives, each of one pattern or several.
Alternatives = tuple[str | tuple[str, ...], ...]

_RESNET = dict(
    outer=('layer*.*.[bg]n3', 'layer*.*.[bg]n2', 'layer*.*'),
    inner=('layer*.*.conv3:input', 'layer*.*.[bg]n2'),
    before_norm=('layer*.*.conv2',),
)
_CSP = dict(outer=('stage*.*.blocks.*',), inner=('stage*.*.blocks.*.conv1',))
_TOKENS = dict(
    outer=(
        'layers.[0-9]*.[0-9]*.[0-9]*',
        'layers.*.blocks.*',
        'layers.[0-9]*',
        'blocks.[0-9]*',
        'encoder.*',
        'encoder.layers.*',
    ),
)
_STAGES = dict(
    outer=('stages.*.blocks.*', 'stages.*.*', 'features.*.*', 'blocks.*.*', 'blocks*.*', 'block*.*')
)
_MOBILE = dict(
    outer=(
        ('layers.*.*.linear_conv', 'layers.*.*.conv2'),
        'layer*.*.linear_conv',
        'layer*.linear_conv',
        'layer*.*.conv',
        'blocks.*.*',
        'features.*.block',
        'features.*.conv',
        'features.*.*.block',
    ),
    inner=(
        'layers.*.*.depthwise_conv',
        'layer*.*.depthwise_conv',
        'layer*.depthwise_conv',
        'layer*.*.conv.*',
        'blocks.*.*.bn2',
        'features.*.block.1',
        'features.*.conv.1',
        'features.*.*.block.1',
    ),
)
_DENSE = dict(outer=('features.denseblock*', 'stages.[0-9]*'))
_INCEPTION = dict(outer=('Mixed_*', 'inception*', 'features.*'))
_TREES = dict(outer=('network.*.[0-9]*',))
_TWINS = dict(outer=('layers.[0-9]*.[0-9]*', 'stages.[0-9]*.[0-9]*'))
_HIGH_RESOLUTION = dict(
    outer=(
        ('layer1.*.[bg]n3', 'stage*.*.branches.*.*.[bg]n2'),
        'stage*.*.branches.*.*',
    ),
    inner=(('layer1.*.conv3:input', 'stage*.*.branches.*.*.[bg]n2'),),
)

PRESETS: dict[str, dict[str, Alternatives]] = {
    # Necks.
    **dict.fromkeys(
        ('FPN', 'PAFPN', 'YOLOXPAFPN', 'CSPNeXtPAFPN', 'BFP', 'ChannelMapper'),
        dict(outer=('pafpn_convs.*', 'fpn_convs.*', 'out_convs.*', 'convs.*')),
    ),
    # Backbones.
    'AlexNet': dict(outer=('features.*',)),
    'BiSeNetV1': dict(outer=('context_path.backbone.layer*.*',)),
    'BiSeNetV2': dict(outer=('semantic.stage*.*',)),
    'CGNet': dict(outer=('level*.*',)),
    'Conformer': dict(outer=('conv_trans_*.fusion_block',)),
    'ConvMixer': dict(outer=('stages.*',)),
    'CSPDarkNet': _STAGES,
    'CSPDarknet': _CSP,
    'CSPNet': _STAGES,
    'CSPNeXt': _CSP,
    'Darknet': dict(outer=('conv_res_block*.res*',)),
    'DDRNet': dict(outer=(('context_branch_layers.*.*', 'spatial_branch_layers.*.*'),)),
    'DenseNet': _DENSE,
    'EfficientNet': _MOBILE,
    'EfficientNetV2': _MOBILE,
    'ERFNet': dict(outer=('encoder.*',)),
    'FastSCNN': dict(outer=('global_feature_extractor.bottleneck*.*',)),
    'GoogLeNet': _INCEPTION,
    'HourglassNet': dict(outer=('hourglass_modules.*.up1.*',)),
    'HRNet': _HIGH_RESOLUTION,
    'HighResolutionNet': _HIGH_RESOLUTION,
    'ICNet': dict(outer=('backbone.layer*.*',)),
    'InceptionV3': _INCEPTION,
    'Inception3': _INCEPTION,
    'LeNet5': dict(outer=(('features.2', 'features.5'),)),
    'MNASNet': dict(outer=('layers.*.*.layers',)),
    'MobileNetV2': _MOBILE,
    'MobileNetV3': _MOBILE,
    'MobileOne': dict(outer=(('stage0', 'stage[1-9]*.[0-9]*'),)),
    'MobileViT': dict(outer=('layers.*.*',)),
    'PIDNet': dict(outer=(('i_branch_layers.*.*', 'p_branch_layers.*.*'),)),
    'PCPVT': _TWINS,
    'PoolFormer': _TREES,
    'RIFormer': _TREES,
    'EfficientFormer': _TREES,
    'RegNet': dict(
        outer=('layer*.*.[bg]n3', 's*.b*', 'trunk_output.block*.*'),
        inner=('layer*.*.conv3:input', 's*.b*.conv2', 'trunk_output.block*.*.f.b'),
    ),
    'RepLKNet': dict(outer=('stages.*.blocks.*',)),
    'RepMLPNet': dict(outer=('stages.*.*',)),
    'RepVGG': dict(outer=('stage_*.*',)),
    'ResNet': _RESNET,
    'ResNetV2': dict(outer=('stages.*.blocks.*',), inner=('stages.*.blocks.*.conv3:input',)),
    'ResNeSt': dict(_RESNET, inner=('layer*.*.conv3:input',)),
    'RevVisionTransformer': dict(outer=('layers.*.ffn',)),
    'ShuffleNetV1': dict(outer=('layers.*.*',)),
    'ShuffleNetV2': dict(outer=('layers.*.*', 'stage*.*')),
    'SqueezeNet': dict(outer=('features.*',)),
    'STDCNet': dict(outer=('stages.*.*',)),
    'STDCContextPathNet': dict(outer=('backbone.stages.*.*',)),
    'SVT': _TWINS,
    'T2T_ViT': _TOKENS,
    'TNT': dict(outer=('layers.*.outer_block',)),
    'TinyViT': _STAGES,
    'UNet': dict(
        # A stage of the encoder may begin with a pool: its end, not every part.
        outer=(('encoder.*', 'decoder.*.conv_block'),),
        inner=(('encoder.*.*.convs.*', 'decoder.*.conv_block.convs.*'),),
    ),
    'VGG': dict(outer=('features.*',)),
    'XCiT': dict(outer=('xca_layers.*',)),
    **dict.fromkeys(
        (
            'BaseTransformer',
            'VisionTransformer',
            'BEiT',
            'BEiTViT',
            'MixVisionTransformer',
            'MlpMixer',
            'MViT',
            'ViTSAM',
        )
        + ('PyramidVisionTransformer', 'HiViT', 'MixMIMTransformer'),
        _TOKENS,
    ),
    **dict.fromkeys(
        ('ConvNeXt', 'DaViT', 'EdgeNeXt', 'HorNet', 'LeViT', 'MSCAN', 'SwinTransformer', 'VAN')
        + ('SwinTransformerV2', 'SparseConvNeXt', 'Vig', 'PyramidVig'),
        dict(outer=(*_STAGES['outer'], 'layers.*.blocks.*')),
    ),
}


def preset_of(network: nn.Module) -> tuple[str, dict[str, Alternatives]] | None:
    """The preset of a network, or of the one that it wraps, and the latter's name with a dot."""
    for cls in type(network).__mro__:
        if cls.__name__ in PRESETS:
            return '', PRESETS[cls.__name__]
    inner = [(f'{name}.', child) for name, child in network.named_children()]
    for prefix, child in inner if len(inner) == 1 else []:
        found = preset_of(child)
        if found:
            return prefix + found[0], found[1]
    return None


def preset_places(network: nn.Module, placement: str) -> list[Place]:
    """Where attention usually goes in a network.

    Args:
        network: The network.
        placement: 'inner', 'outer' or 'before_norm'; a network that tells them not apart has
            'outer' for all.

    Raises:
        ValueError: If ``placement`` is none of these.
        TypeError: If nothing is known of the network.
    """
    if placement not in PLACEMENTS:
        raise InvalidValue(f'position must be one of {", ".join(PLACEMENTS)}, got {placement!r}')
    found = preset_of(network)
    if found is None:
        raise InvalidArgument(
            f'no usual places are known of {type(network).__name__}: give at=..., a pattern of '
            f"names of its modules, which 'python -m mmattn places {type(network).__name__}' shows"
        )
    prefix, preset = found
    for alternative in (*preset.get(placement, ()), *preset['outer']):
        patterns = (alternative,) if isinstance(alternative, str) else alternative
        places = _there(network, [prefix + pattern for pattern in patterns])
        if places:
            return places
    raise InvalidArgument(
        f'{type(network).__name__} has none of its usual parts: give at=..., a pattern of names of '
        'its modules'
    )


def _there(network: nn.Module, patterns: Sequence[str]) -> list[Place]:
    places = []
    for pattern in patterns:
        try:
            places += find_places(network, pattern)
        except UnknownName:
            continue
    return places
