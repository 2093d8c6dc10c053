"""ResNets' layers in other checkpoints: their names, and the config that fits.

mmpretrain's deep stem is a chain of modules, timm's and Res2Net v1b's is called conv1,
with its last norm outside; mmpretrain's shortcuts leave out a pooling of stride 1.
"""

import re
from collections.abc import Mapping
from typing import Any

from mmattn.backbones.loading import Shapes, blocks_by_stage
from mmattn.utils.errors import UserError

FIRST = 'layer1.0'


def own_names(shapes: Shapes) -> dict[str, str]:
    """Another checkpoint's keys -> ours, see :meth:`AttentionBackbone.own_names`."""
    names = {}
    conv1_is_stem = 'conv1.0.weight' in shapes
    pooled = _has_pooled_shortcuts(shapes)
    for key in shapes:
        if match := re.match(r'stem\.(\d)\.([a-z]+)\.', key):
            index = 3 * int(match[1]) + (match[2] != 'conv')
            names[key] = f'stem.{index}.{key[match.end() :]}'
        elif conv1_is_stem and key.startswith('conv1.'):
            names[key] = f'stem.{key[6:]}'
        elif conv1_is_stem and key.startswith('bn1.'):
            # After three convolutions, two norms and two ReLUs.
            names[key] = f'stem.7.{key[4:]}'
        elif pooled and (match := re.match(r'(layer\d\.0\.downsample\.)([01])\.', key)):
            # Convolution and norm without a pooling in front of them.
            if f'{match[1]}0.weight' in shapes:
                names[key] = f'{match[1]}{int(match[2]) + 1}.{key[match.end() :]}'
    return names


def _has_pooled_shortcuts(shapes: Shapes) -> bool:
    """Whether a shortcut begins with a pooling: its convolution is number 1 then."""
    return any(
        len(shape) == 4 and re.match(r'layer\d\.0\.downsample\.1\.weight', key)
        for key, shape in shapes.items()
    )


def config_from(shapes: Shapes, settings: Mapping[int, tuple]) -> dict[str, Any] | None:
    """The config of a ResNet, V1c, V1d or ResNeXt, see :meth:`AttentionBackbone.config_from`."""
    if f'{FIRST}.conv2.weight' not in shapes:
        return None
    middle = shapes[f'{FIRST}.conv1.weight'][0]
    bottleneck = f'{FIRST}.conv3.weight' in shapes
    out = shapes[f'{FIRST}.{"conv3" if bottleneck else "conv2"}.weight'][0]
    groups = middle // shapes[f'{FIRST}.conv2.weight'][1] if bottleneck else 1
    config: dict[str, Any] = {}
    if groups > 1:
        config.update(groups=groups, width_per_group=middle // groups)
    elif middle != 64 or (bottleneck and out != 256):
        config.update(base_channels=middle, expansion=out // middle, stem_channels=64)
    kind, stem = 'ResNeXt' if groups > 1 else 'ResNet', stem_options(shapes)
    if stem['deep_stem'] and not config:
        kind = 'ResNetV1d' if stem['avg_down'] else 'ResNetV1c'
    else:
        config.update({name: value for name, value in stem.items() if value})
    depth = depth_from(kind, shapes, settings, bottleneck)
    return dict(type=f'mmattn.{kind}', depth=depth, **config, **image_channels(shapes))


def depth_from(kind: str, shapes: Shapes, settings: Mapping[int, tuple], bottleneck: bool) -> int:
    """The depth with these numbers of blocks."""
    counts = tuple(map(len, blocks_by_stage(shapes, r'(layer(\d)\.(\d+))\.conv1\.')))
    for depth, (block, numbers) in settings.items():
        if numbers == counts and (block.expansion > 1) is bottleneck:
            return depth
    raise UserError(
        f'a {kind} of {counts} {"bottlenecks" if bottleneck else "basic blocks"} in its stages '
        f'has no depth that mmattn knows; valid depths: {list(settings)}'
    )


def stem_options(shapes: Shapes) -> dict[str, bool]:
    deep_stem = any(name.startswith('stem.') for name in shapes)
    return dict(deep_stem=deep_stem, avg_down=_has_pooled_shortcuts(shapes))


def image_channels(shapes: Shapes) -> dict[str, int]:
    """``in_channels``, unless the images have the usual three."""
    channels = shapes['stem.0.weight' if 'stem.0.weight' in shapes else 'conv1.weight'][1]
    return {} if channels == 3 else dict(in_channels=channels)
