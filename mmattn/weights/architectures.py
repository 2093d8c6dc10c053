"""From the shapes of a backbone's weights to its config."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.backbones.slots import AttentionBlock
from mmattn.utils.errors import UserError

Shapes = Mapping[str, Sequence[int]]


class Architecture(NamedTuple):
    """What the shapes tell about a backbone.

    Attributes:
        config: Its config without attention.
        block: The class of its blocks, which knows the positions.
        blocks: Prefix of the blocks of each stage.
        levels: Of each stage, how often its features are halved after the first quarter.
        channels: Channels at a position of a block, given the block's prefix.
        features: Channels of the last output.
    """

    config: dict[str, Any]
    block: type[AttentionBlock]
    blocks: list[list[str]]
    levels: Sequence[int]
    channels: Callable[[str, str], int]
    features: int


def describe_backbone(shapes: Shapes) -> Architecture:
    """Tell the backbone from its keys and shapes.

    Args:
        shapes: Name in mmattn (or in a toolbox) -> shape.

    Raises:
        UserError: If it is none that mmattn has, or of a size it does not have.
    """
    for key, describe in FAMILIES.items():
        if any(re.match(key, name) for name in shapes):
            return describe(shapes)
    raise UserError(
        f'the keys are those of no backbone that mmattn has (ResNet, ResNeXt, Res2Net, '
        f'MobileNetV2, RepVGG, Swin): {", ".join(list(shapes)[:4])} ...'
    )


def _blocks(shapes: Shapes, pattern: str) -> list[list[str]]:
    """Prefixes of the blocks of each stage; the pattern has groups for block, stage and index."""
    stages: dict[int, set[tuple[int, str]]] = {}
    for name in shapes:
        if match := re.match(pattern, name):
            stages.setdefault(int(match[2]), set()).add((int(match[3]), match[1]))
    return [[prefix for _, prefix in sorted(stages[stage])] for stage in sorted(stages)]


def _resnet(shapes: Shapes) -> Architecture:
    from mmattn.backbones import Res2Net, ResNet, ResNeXt

    first = 'layer1.0'
    blocks = _blocks(shapes, r'(layer(\d)\.(\d+))\.conv1\.')
    counts = tuple(map(len, blocks))
    bottleneck = f'{first}.conv3.weight' in shapes
    res2net = f'{first}.convs.0.weight' in shapes
    middle = shapes[f'{first}.conv1.weight'][0]
    last = 'conv3' if bottleneck else 'conv2'
    out = shapes[f'{first}.{last}.weight'][0]

    config: dict[str, Any] = {}
    if res2net:
        cls = Res2Net
        config.update(_res2net_width(shapes, first, out))
    else:
        groups = middle // shapes[f'{first}.conv2.weight'][1] if bottleneck else 1
        cls = ResNeXt if groups > 1 else ResNet
        if groups > 1:
            config.update(groups=groups, width_per_group=middle // groups)
        elif middle != 64 or (bottleneck and out != 256):
            config.update(base_channels=middle, expansion=out // middle, stem_channels=64)
    block = (Res2Net if res2net else ResNet).arch_settings[50 if bottleneck else 18][0]
    depths = {depth: n for depth, (kind, n) in ResNet.arch_settings.items() if n == counts}
    fitting = [d for d in depths if (ResNet.arch_settings[d][0].expansion > 1) == bottleneck]
    if not fitting:
        raise UserError(
            f'a {cls.__name__} of {counts} {"bottlenecks" if bottleneck else "basic blocks"} in '
            f'its stages has no depth that mmattn knows; valid depths: {list(cls.arch_settings)}'
        )

    deep_stem = any(name.startswith('stem.') for name in shapes)
    avg_down = len(shapes.get('layer2.0.downsample.1.weight', ())) == 4
    kind = cls.__name__
    if res2net:
        if not deep_stem or not avg_down:
            config.update(deep_stem=deep_stem, avg_down=avg_down)
    elif cls is ResNet and deep_stem and not config:
        kind = 'ResNetV1d' if avg_down else 'ResNetV1c'
    else:
        config.update({k: v for k, v in dict(deep_stem=deep_stem, avg_down=avg_down).items() if v})
    stem = next(
        shapes[n] for n in ('conv1.weight', 'stem.0.weight', 'stem.0.conv.weight') if n in shapes
    )
    if stem[1] != 3:
        config.update(in_channels=stem[1])

    def channels(prefix: str, position: str) -> int:
        layer = last if position == block.default_positions['outer'] else 'conv1'
        return shapes[f'{prefix}.{layer}.weight'][0]

    return Architecture(
        dict(type=f'mmattn.{kind}', depth=fitting[0], **config),
        block,
        blocks,
        range(len(blocks)),
        channels,
        out * 2 ** (len(blocks) - 1),
    )


def _res2net_width(shapes: Shapes, first: str, out: int) -> dict[str, Any]:
    width, inputs = shapes[f'{first}.convs.0.weight'][:2]
    if inputs != width:
        raise UserError(
            f'a Res2NeXt ({width // inputs} groups in its 3x3 convolutions) is not in mmattn; '
            f'valid: Res2Net without groups'
        )
    scales = 1 + sum(1 for name in shapes if re.fullmatch(rf'{first}\.convs\.\d+\.weight', name))
    # mmdet's Res2Net leaves out a pooling that the others do, so the choice is stated.
    return dict(scales=scales, base_width=width * 256 // out, pool_unstrided=True)


def _mobilenet_v2(shapes: Shapes) -> Architecture:
    from mmattn.backbones.mobilenet_v2 import LEVELS, InvertedResidual, MobileNetV2

    blocks = _blocks(shapes, r'(layer(\d)\.(\d+))\.conv\.')
    last = shapes[f'{blocks[-1][-1]}.conv.2.conv.weight'][0]
    widen = last / 320
    config = dict(type='mmattn.MobileNetV2')
    if widen != 1:
        config.update(widen_factor=round(widen, 4))
    counts = [len(stage) for stage in blocks]
    known = [count for _, _, count, _ in MobileNetV2.arch_settings]
    if counts != known:
        raise UserError(
            f'a MobileNetV2 of {counts} blocks a stage is not in mmattn; valid: {known}'
        )

    def channels(prefix: str, position: str) -> int:
        project = f'{prefix}.conv.{1 if prefix.startswith("layer1.") else 2}.conv.weight'
        return shapes[project][0 if position == 'after_project' else 1]

    features = shapes['conv2.conv.weight'][0] if 'conv2.conv.weight' in shapes else last
    return Architecture(config, InvertedResidual, blocks, LEVELS, channels, features)


def _repvgg(shapes: Shapes) -> Architecture:
    from mmattn.backbones.repvgg import RepVGG, RepVGGBlock

    blocks = _blocks(shapes, r'(stage_(\d)\.(\d+))\.')
    deploy = 'stem.branch_reparam.weight' in shapes
    layer = 'branch_reparam' if deploy else 'branch_3x3.conv'
    weights = [shapes[f'{stage[-1]}.{layer}.weight'] for stage in blocks]
    widths = [weight[0] for weight in weights]
    # The second layer after the stem is the first with groups.
    inner = shapes[f'{blocks[0][1]}.{layer}.weight']
    groups = inner[0] // inner[1]
    for arch, setting in RepVGG.arch_settings.items():
        sizes = [int(64 * 2**i * factor) for i, factor in enumerate(setting['width_factor'])]
        grouped = (setting['group_layer_map'] or {}).get(2, 1)
        if (
            list(setting['num_blocks']) == [len(stage) for stage in blocks]
            and (sizes, grouped) == (widths, groups)
            and setting.get('se_cfg') is None
        ):
            config = dict(type='mmattn.RepVGG', arch=arch, **({'deploy': True} if deploy else {}))
            return Architecture(
                config,
                RepVGGBlock,
                blocks,
                range(len(blocks)),
                lambda prefix, _: shapes[f'{prefix}.{layer}.weight'][0],
                widths[-1],
            )
    raise UserError(
        f'a RepVGG of {[len(stage) for stage in blocks]} blocks, {widths} channels and {groups} '
        f'groups is not in mmattn; valid: {", ".join(RepVGG.arch_settings)}'
    )


def _swin(shapes: Shapes) -> Architecture:
    from mmattn.backbones.swin import SwinBlock, SwinTransformer

    blocks = _blocks(shapes, r'(stages\.(\d)\.blocks\.(\d+))\.')
    embed_dims = shapes['patch_embed.projection.weight'][0]
    depths = [len(stage) for stage in blocks]
    table = f'{blocks[0][0]}.attn.w_msa.relative_position_bias_table'
    window = (math.isqrt(shapes[table][0]) + 1) // 2
    features = embed_dims * 2 ** (len(blocks) - 1)
    heads = [shapes[f'{stage[0]}.attn.w_msa.relative_position_bias_table'][1] for stage in blocks]
    for name, setting in SwinTransformer.arch_zoo.items():
        if (setting['embed_dims'], setting['depths'], setting['num_heads']) == (
            embed_dims,
            depths,
            heads,
        ):
            config: dict[str, Any] = dict(type='mmattn.SwinTransformer', arch=name)
            if window != 7:
                config.update(window_size=window)
            outputs = tuple(n for n in range(len(depths)) if f'norm{n}.weight' in shapes)
            if outputs != (len(depths) - 1,):
                config.update(out_indices=outputs)
            return Architecture(
                config,
                SwinBlock,
                blocks,
                range(len(blocks)),
                lambda prefix, _: shapes[f'{prefix}.norm1.weight'][0],
                features,
            )
    raise UserError(
        f'a Swin Transformer with embed_dims={embed_dims}, depths={depths}, num_heads={heads} is '
        f'not in mmattn; valid: {", ".join(SwinTransformer.arch_zoo)}'
    )


# A key that tells the family from the others.
FAMILIES: dict[str, Callable[[Shapes], Architecture]] = {
    r'layer1\.0\.conv1\.weight$': _resnet,
    r'layer1\.0\.conv\.\d\.': _mobilenet_v2,
    r'stage_1\.0\.': _repvgg,
    r'stages\.0\.blocks\.0\.': _swin,
}
