"""MobileNetV2's layers in other checkpoints: their names, and the config that fits.

torchvision and the repositories built on it number the layers of a block, so an attention
among them shifts the numbers behind it; mmpretrain's names are numbered too where a fork
puts an attention into the chain. What a layer is, its place and shape tell: a weight of
four dimensions is a convolution, and a name below the number an attention. mmdet and mmseg
name the three convolutions of a block, and timm's names are those of its EfficientNet.
"""

import re
from typing import Any

from mmattn.backbones.loading import Shapes, blocks_by_stage
from mmattn.utils.errors import UserError

# Blocks of each stage; those of the first one do not expand.
STAGES = (1, 2, 3, 4, 3, 3, 1)
BLOCKS = [(stage, index) for stage, count in enumerate(STAGES, 1) for index in range(count)]
MMDET_LAYERS = ('expand_conv', 'depthwise_conv', 'linear_conv')
TIMM_LAYERS = {'conv_stem': 'conv1.conv', 'bn1': 'conv1.bn'}
TIMM_LAYERS |= {'conv_head': 'conv2.conv', 'bn2': 'conv2.bn'}


def own_names(shapes: Shapes) -> dict[str, str]:
    """Another checkpoint's keys -> ours, see :meth:`AttentionBackbone.own_names`.

    An attention in the chain goes to ``attn_after_depthwise`` or ``attn_after_project``.
    """
    if 'features.0.0.weight' in shapes:
        return _numbered(shapes)
    if 'conv_stem.weight' in shapes and 'blocks.0.0.conv_dw.weight' in shapes:
        return _named(shapes, r'(conv_stem|bn1|conv_head|bn2|blocks\..+)\.(\w+)$', _timm_layers())
    return _chained(shapes) | _named(shapes, r'(layer\d\.\d+\.\w+_conv)\.(.+)$', _mmdet_layers())


def _named(shapes: Shapes, pattern: str, layers: dict[str, str]) -> dict[str, str]:
    """Names of a fixed table; the pattern has groups for the layer and the rest."""
    matches = {key: re.match(pattern, key) for key in shapes}
    return {
        key: f'{layers[match[1]]}.{match[2]}'
        for key, match in matches.items()
        if match and match[1] in layers
    }


def _timm_layers() -> dict[str, str]:
    layers = dict(TIMM_LAYERS)
    for stage, index in BLOCKS:
        convolutions = ('conv_dw', 'conv_pw') if stage == 1 else ('conv_pw', 'conv_dw', 'conv_pwl')
        for number, convolution in enumerate(convolutions):
            block, name = f'blocks.{stage - 1}.{index}', f'layer{stage}.{index}.conv.{number}'
            layers[f'{block}.{convolution}'] = f'{name}.conv'
            layers[f'{block}.bn{number + 1}'] = f'{name}.bn'
    return layers


def _mmdet_layers() -> dict[str, str]:
    return {
        f'layer{stage}.{index}.{layer}': f'layer{stage}.{index}.conv.{number}'
        for stage, index in BLOCKS
        for number, layer in enumerate(MMDET_LAYERS[stage == 1 :])
    }


def _numbered(shapes: Shapes) -> dict[str, str]:
    """torchvision's names: features.0 is the stem, 1 to 17 are blocks, 18 is the last layer."""
    names = {}
    blocks: dict[int, list[str]] = {}
    for key in shapes:
        match = re.fullmatch(r'(features\.0|features\.18|conv)\.([01])\.(\w+)', key)
        if match:
            layer = 'conv1' if match[1] == 'features.0' else 'conv2'
            names[key] = f'{layer}.{("conv", "bn")[int(match[2])]}.{match[3]}'
        elif match := re.match(r'features\.(\d+)\.conv\.', key):
            blocks.setdefault(int(match[1]), []).append(key)
    for number, keys in blocks.items():
        if 0 < number <= len(BLOCKS):
            names.update(_block_names(shapes, keys, f'features.{number}.conv.', number))
    return names


def _block_names(shapes: Shapes, keys: list[str], prefix: str, number: int) -> dict[str, str]:
    """One block: [expand,] depthwise, project, each a convolution and a norm."""
    names = {}
    stage, index = BLOCKS[number - 1]
    seen = 0
    # A file may hold its keys in any order.
    for key in sorted(keys, key=lambda key: _numbers(key[len(prefix) :])):
        path, _, parameter = key[len(prefix) :].rpartition('.')
        if not re.fullmatch(r'[\d.]+', path):
            inner = re.sub(r'^(\d+\.)+', '', key[len(prefix) :])
            names[key] = f'layer{stage}.{index}.{_slot(seen, stage)}.{inner}'
        elif parameter == 'weight' and len(shapes[key]) == 4:
            seen += 1
            names[key] = f'layer{stage}.{index}.conv.{seen - 1}.conv.weight'
        else:
            names[key] = f'layer{stage}.{index}.conv.{seen - 1}.bn.{parameter}'
    return names


def _numbers(rest: str) -> list[int]:
    return [int(part) for part in re.match(r'(\d+\.)+', rest)[0].split('.')[:-1]]


def _chained(shapes: Shapes) -> dict[str, str]:
    """mmpretrain's names with an attention in the chain, as forks of it have."""
    layers: dict[tuple[int, int], dict[int, list[str]]] = {}
    for key in shapes:
        if match := re.match(r'layer(\d)\.(\d+)\.conv\.(\d+)\.', key):
            block = layers.setdefault((int(match[1]), int(match[2])), {})
            block.setdefault(int(match[3]), []).append(key)
    names = {}
    for (stage, index), block in layers.items():
        seen = 0
        for number in sorted(block):
            prefix = f'layer{stage}.{index}.conv.{number}.'
            is_layer = f'{prefix}bn.weight' in shapes
            name = f'conv.{seen}' if is_layer else _slot(seen, stage)
            seen += is_layer
            for key in block[number]:
                names[key] = f'layer{stage}.{index}.{name}.{key[len(prefix) :]}'
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
