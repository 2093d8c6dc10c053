"""MobileNetV2's layers in other checkpoints: their names, and the config that fits.

torchvision and the repositories built on it number the layers of a block, so an attention
among them shifts the numbers behind it; mmpretrain's names are numbered too where a fork
puts an attention into the chain. What a layer is, its place and shape tell: a weight of
four dimensions is a convolution, and a name below the number an attention. mmdet and mmseg
name the three convolutions of a block, and timm's names are those of its EfficientNet.
"""

import re
from collections.abc import Iterator
from typing import Any

from mmattn.backbones.loading import Shapes, blocks_by_stage
from mmattn.utils.errors import UserError

# Blocks of each stage; those of the first one do not expand.
STAGES = (1, 2, 3, 4, 3, 3, 1)
BLOCKS = [(stage, index) for stage, count in enumerate(STAGES, 1) for index in range(count)]
# A layer's place in a chain of torchvision's.
NUMBERS = r'(\d+\.)+'
MMDET_LAYERS = ('expand', 'depthwise', 'linear')
TIMM_FIRST_STAGE = {'conv_dw': '0.conv', 'bn1': '0.bn', 'conv_pw': '1.conv', 'bn2': '1.bn'}
TIMM_STAGES = {'conv_pw': '0.conv', 'bn1': '0.bn', 'conv_dw': '1.conv', 'bn2': '1.bn'}
TIMM_STAGES |= {'conv_pwl': '2.conv', 'bn3': '2.bn'}
TIMM_ENDS = {'conv_stem': 'conv1.conv', 'bn1': 'conv1.bn'}
TIMM_ENDS |= {'conv_head': 'conv2.conv', 'bn2': 'conv2.bn'}


def own_names(shapes: Shapes) -> dict[str, str]:
    """Another checkpoint's keys -> ours, see :meth:`AttentionBackbone.own_names`.

    An attention in the chain goes to ``attn_after_depthwise`` or ``attn_after_project``.
    """
    if 'features.0.0.weight' in shapes:
        return _numbered(shapes)
    if 'conv_stem.weight' in shapes and 'blocks.0.0.conv_dw.weight' in shapes:
        return _timms(shapes)
    return _chained(shapes) | _mmdets(shapes)


def _timms(shapes: Shapes) -> dict[str, str]:
    names = {}
    for key in shapes:
        layer, _, parameter = key.rpartition('.')
        if layer in TIMM_ENDS:
            names[key] = f'{TIMM_ENDS[layer]}.{parameter}'
        elif match := re.fullmatch(r'blocks\.(\d)\.(\d+)\.(\w+)', layer):
            stage, layers = int(match[1]) + 1, TIMM_STAGES if match[1] != '0' else TIMM_FIRST_STAGE
            if match[3] in layers:
                names[key] = f'layer{stage}.{match[2]}.conv.{layers[match[3]]}.{parameter}'
    return names


def _mmdets(shapes: Shapes) -> dict[str, str]:
    names = {}
    for key in shapes:
        if match := re.match(rf'(layer(\d)\.\d+)\.({"|".join(MMDET_LAYERS)})_conv\.', key):
            number = MMDET_LAYERS.index(match[3]) - (match[2] == '1')
            names[key] = f'{match[1]}.conv.{number}.{key[match.end() :]}'
    return names


def _numbered(shapes: Shapes) -> dict[str, str]:
    """torchvision's names: features.0 is the stem, 1 to 17 are blocks, 18 is the last layer."""
    names = {}
    blocks: dict[int, list[str]] = {}
    for key in shapes:
        if match := re.fullmatch(r'(features\.0|features\.18|conv)\.([01])\.(\w+)', key):
            layer = 'conv1' if match[1] == 'features.0' else 'conv2'
            names[key] = f'{layer}.{("conv", "bn")[int(match[2])]}.{match[3]}'
        elif match := re.match(r'features\.(\d+)\.conv\.', key):
            blocks.setdefault(int(match[1]), []).append(key[match.end() :])
    for number, keys in blocks.items():
        if 0 < number <= len(BLOCKS):
            prefix, (stage, index) = f'features.{number}.conv.', BLOCKS[number - 1]
            # A file may hold its keys in any order.
            layers = _layers(sorted(keys, key=_numbers), shapes, prefix, stage)
            names |= {prefix + key: f'layer{stage}.{index}.{layer}' for key, layer in layers}
    return names


def _layers(keys: list[str], shapes: Shapes, prefix: str, stage: int) -> Iterator[tuple[str, str]]:
    """A block's keys and ours: [expand,] depthwise, project, each a convolution and a norm."""
    seen = 0
    for key in keys:
        path, _, parameter = key.rpartition('.')
        if not re.fullmatch(r'[\d.]+', path):
            yield key, f'{_slot(seen, stage)}.{re.sub(NUMBERS, "", key, count=1)}'
        elif parameter == 'weight' and len(shapes[prefix + key]) == 4:
            seen += 1
            yield key, f'conv.{seen - 1}.conv.weight'
        else:
            yield key, f'conv.{seen - 1}.bn.{parameter}'


def _numbers(key: str) -> list[int]:
    return [int(part) for part in re.match(NUMBERS, key)[0].split('.')[:-1]]


def _chained(shapes: Shapes) -> dict[str, str]:
    """mmpretrain's names with an attention in the chain, as forks of it have."""
    chains: dict[tuple[str, int], dict[int, list[str]]] = {}
    for key in shapes:
        if match := re.match(r'(layer(\d)\.\d+)\.conv\.(\d+)\.', key):
            chain = chains.setdefault((match[1], int(match[2])), {})
            chain.setdefault(int(match[3]), []).append(key[match.end() :])
    names = {}
    for (block, stage), chain in chains.items():
        seen = 0
        for number, rests in sorted(chain.items()):
            is_layer = 'bn.weight' in rests
            name = f'conv.{seen}' if is_layer else _slot(seen, stage)
            seen += is_layer
            names |= {f'{block}.conv.{number}.{rest}': f'{block}.{name}.{rest}' for rest in rests}
    return names


def _slot(seen: int, stage: int) -> str:
    return 'attn_after_project' if seen == (2 if stage == 1 else 3) else 'attn_after_depthwise'


def config_from(shapes: Shapes) -> dict[str, Any] | None:
    """The config that fits, see :meth:`AttentionBackbone.config_from`."""
    blocks = blocks_by_stage(shapes, r'(layer(\d)\.(\d+))\.conv\.\d\.')
    if not blocks:
        return None
    counts = tuple(map(len, blocks))
    if counts != STAGES:
        raise UserError(
            f'a MobileNetV2 of {counts} blocks a stage is not in mmattn; valid: {STAGES}'
        )
    widen = shapes['layer7.0.conv.2.conv.weight'][0] / 320
    return dict(type='mmattn.MobileNetV2', **({} if widen == 1 else dict(widen_factor=widen)))
