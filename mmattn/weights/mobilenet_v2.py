"""The names of MobileNetV2's layers elsewhere -> mmpretrain's.

torchvision and the repositories built on it number the layers of a block, so an attention
among them shifts the numbers behind it. What a layer is, its place and shape tell:
a weight of four dimensions is a convolution, and a name below the number an attention.
mmpretrain's own names are numbered too where a fork puts an attention into the chain.
"""

import re
from collections.abc import Mapping, Sequence

# Blocks of each stage.
STAGES = (1, 2, 3, 4, 3, 3, 1)
BLOCKS = [(stage, index) for stage, count in enumerate(STAGES, 1) for index in range(count)]
LAST = len(BLOCKS) + 1

Shapes = Mapping[str, Sequence[int]]


def rename_mobilenet_v2(shapes: Shapes) -> dict[str, str]:
    """Rename the keys of a MobileNetV2 whose blocks are chains; {} for any other net.

    Args:
        shapes: Key -> shape, without the classifier.

    Returns:
        Key -> mmpretrain's name, with attention in 'attn_after_depthwise' or
        'attn_after_project'.
    """
    if 'features.0.0.weight' in shapes:
        return _rename_features(shapes)
    if 'conv_stem.weight' in shapes and 'blocks.0.0.conv_dw.weight' in shapes:
        return _rename_timm(shapes)
    if any(re.match(r'layer1\.0\.conv\.\d\.', key) for key in shapes):
        return _rename_blocks(shapes)
    return {}


def _rename_features(shapes: Shapes) -> dict[str, str]:
    """torchvision's names: features.0 is the stem, 1 to 17 are blocks, 18 is the last layer."""
    names = {}
    blocks: dict[int, list[str]] = {}
    for key in shapes:
        number, _, rest = key.removeprefix('features.').partition('.')
        if key.startswith('features.') and 0 < int(number) < LAST and rest.startswith('conv.'):
            blocks.setdefault(int(number), []).append(key)
        elif match := re.fullmatch(r'(features\.0|features\.18|conv)\.([01])\.(\w+)', key):
            layer = 'conv1' if match[1] == 'features.0' else 'conv2'
            names[key] = f'{layer}.{("conv", "bn")[int(match[2])]}.{match[3]}'
    for number, keys in blocks.items():
        stage, index = BLOCKS[number - 1]
        names.update(_rename_chain(shapes, keys, f'features.{number}.conv', stage, index))
    return names


def _rename_chain(
    shapes: Shapes, keys: list[str], prefix: str, stage: int, index: int
) -> dict[str, str]:
    """One block: [expand,] depthwise, project, each a convolution and a norm."""
    names = {}
    convolutions = 2 if stage == 1 else 3
    seen = 0
    # A file may hold its keys in any order.
    for key in sorted(keys, key=lambda key: _numbers(key[len(prefix) + 1 :])):
        rest = key[len(prefix) + 1 :]
        path, _, parameter = rest.rpartition('.')
        if re.fullmatch(r'[\d.]+', path):
            if parameter == 'weight' and len(shapes[key]) == 4:
                seen += 1
                names[key] = f'layer{stage}.{index}.conv.{seen - 1}.conv.weight'
            else:
                names[key] = f'layer{stage}.{index}.conv.{seen - 1}.bn.{parameter}'
        else:
            inner = re.sub(r'^(\d+\.)+', '', rest)
            names[key] = f'layer{stage}.{index}.{_slot(seen, convolutions)}.{inner}'
    return names


def _numbers(rest: str) -> list[int]:
    return [int(part) for part in re.match(r'(\d+\.)+', rest)[0].split('.')[:-1]]


def _rename_timm(shapes: Shapes) -> dict[str, str]:
    """timm's names, those of its EfficientNet."""
    layers = {
        'conv_stem': 'conv1.conv',
        'bn1': 'conv1.bn',
        'conv_head': 'conv2.conv',
        'bn2': 'conv2.bn',
    }
    for stage, index in BLOCKS:
        convolutions = ('conv_dw', 'conv_pw') if stage == 1 else ('conv_pw', 'conv_dw', 'conv_pwl')
        for number, convolution in enumerate(convolutions):
            block, name = f'blocks.{stage - 1}.{index}', f'layer{stage}.{index}.conv.{number}'
            layers[f'{block}.{convolution}'] = f'{name}.conv'
            layers[f'{block}.bn{number + 1}'] = f'{name}.bn'
    split = {key: key.rpartition('.') for key in shapes}
    return {
        key: f'{layers[name]}.{last}' for key, (name, _, last) in split.items() if name in layers
    }


def _rename_blocks(shapes: Shapes) -> dict[str, str]:
    """mmpretrain's names with an attention in the chain, as forks of it have."""
    names = {}
    for stage, index in BLOCKS:
        block = f'layer{stage}.{index}.conv'
        numbers = sorted(
            {int(m[1]) for key in shapes if (m := re.match(rf'{re.escape(block)}\.(\d+)\.', key))}
        )
        convolutions = 2 if stage == 1 else 3
        seen = 0
        for number in numbers:
            prefix = f'{block}.{number}.'
            layer = f'{prefix}bn.weight' in shapes
            name = (
                f'{block}.{seen}.'
                if layer
                else f'layer{stage}.{index}.{_slot(seen, convolutions)}.'
            )
            seen += layer
            for key in shapes:
                if key.startswith(prefix):
                    names[key] = name + key[len(prefix) :]
    return names


def _slot(seen: int, convolutions: int) -> str:
    return 'attn_after_project' if seen == convolutions else 'attn_after_depthwise'
