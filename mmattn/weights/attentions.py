"""From the shapes of the weights in the slots to the ``attention`` argument of a backbone."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmattn.attention import FCA, Attention
from mmattn.attention.fca import SELECTIONS
from mmattn.attention.names import find_attention
from mmattn.utils.errors import UserError
from mmattn.weights.architectures import Architecture
from mmattn.weights.source import Source

# Arguments of which several values give the same layers.
ROUNDED = {'reduction', 'kernel_size'}


def read_attention(
    source: Source, architecture: Architecture, tensors: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Tell the ``attention`` argument from what is in the slots.

    Args:
        source: Where the checkpoint comes from.
        architecture: Its backbone.
        tensors: Name in the backbone -> tensor.

    Returns:
        One entry for all stages with the same arguments.

    Raises:
        UserError: If it differs within a stage, or fits none that the source has.
    """
    if source.positions:
        place = next(name for name in source.positions if name in architecture.block.positions)
        cls = find_attention(source.attention[0])
        default = architecture.block.default_positions[cls.placement]
        position = {} if place == default else dict(position=place)
        return [dict(type=source.attention[0], **source.arguments, **position)]
    by_slot: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if match := re.match(r'(.+?)\.attn_([a-z]+_[a-z\d]+)\.(.+)', name):
            by_slot.setdefault((match[1], match[2]), {})[match[3]] = tensor
    entries = []
    for position in sorted({position for _, position in by_slot}):
        slots = [
            [
                _read_slot(
                    source, architecture, prefix, position, level, by_slot.get((prefix, position))
                )
                for prefix in blocks
            ]
            for level, blocks in zip(architecture.levels, architecture.blocks, strict=True)
        ]
        entries += _entries(architecture, position, slots)
    return entries


class _Slot(NamedTuple):
    """The attention in one place of one block."""

    cls: type[Attention]
    channels: int
    level: int
    arguments: dict[str, Any]


def _read_slot(
    source: Source,
    architecture: Architecture,
    prefix: str,
    position: str,
    level: int,
    weights: Mapping[str, Tensor] | None,
) -> _Slot | None:
    if weights is None:
        return None
    channels = architecture.channels(prefix, position)
    for kind in source.attention:
        cls = find_attention(kind)
        own = {own_name(cls, name): tensor for name, tensor in weights.items()}
        try:
            arguments = READERS[kind](channels, own)
        except KeyError:
            continue
        return _Slot(cls, channels, level, {**source.arguments, **arguments})
    raise UserError(
        f'{prefix} has a module with {", ".join(list(weights)[:3])}, which is none of '
        f'{", ".join(source.attention) or "the attentions"} of {source.origin}'
    )


def _entries(
    architecture: Architecture, position: str, slots: list[list[_Slot | None]]
) -> list[dict[str, Any]]:
    """As few entries of ``attention`` as say what is at one position, stage by stage."""

    def entry(slot: _Slot | None, shorten: Callable[[_Slot], dict[str, Any]]) -> dict | None:
        if slot is None:
            return None
        default = architecture.block.default_positions[slot.cls.placement]
        place = {} if position == default else dict(position=position)
        return dict(type=slot.cls.__name__, **shorten(slot), **place)

    # What only rounding hides is left out if that makes one entry of all stages.
    for shorten in (_without_defaults, _without_default_values, _without_defaults):
        stages = [[entry(slot, shorten) for slot in blocks] for blocks in slots]
        uneven = [n for n, blocks in enumerate(stages) if any(e != blocks[0] for e in blocks)]
        found = [blocks[0] for blocks in stages]
        different = [e for n, e in enumerate(found) if e is not None and e not in found[:n]]
        if not uneven and (len(different) == 1 or shorten is _without_default_values):
            break
    if uneven:
        raise UserError(
            f'the attention at {position} differs within stage {uneven[0] + 1}, which no '
            f'config of mmattn can say: {stages[uneven[0]]}'
        )
    everywhere = None not in found and len(different) == 1
    return [
        each if everywhere else {**each, 'stages': tuple(other == each for other in found)}
        for each in different
    ]


def own_name(cls: type[Attention], name: str) -> str:
    """A key of the original implementation -> ours, without what submodules rename."""
    for old, new in cls.original_keys.items():
        if name == old or name.startswith(old + '.'):
            return new + name[len(old) :]
    return name


def _without_default_values(slot: _Slot) -> dict[str, Any]:
    parameters = inspect.signature(slot.cls).parameters
    default = {name: parameter.default for name, parameter in parameters.items()}
    default.update(slot.cls.slot_defaults(slot.level))
    return {name: value for name, value in slot.arguments.items() if value != default[name]}


def _without_defaults(slot: _Slot) -> dict[str, Any]:
    """Leave out also what is rounded to the same layers as the default."""
    needed = _without_default_values(slot)
    defaults = slot.cls.slot_defaults(slot.level)
    for name in ROUNDED & set(needed):
        fewer = {key: value for key, value in needed.items() if key != name}
        if _shapes(slot.cls(slot.channels, **{**defaults, **fewer})) == _shapes(
            slot.cls(slot.channels, **{**defaults, **needed})
        ):
            needed = fewer
    return needed


def _shapes(module: Attention) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _reduction(channels: int, weights: Mapping[str, Tensor], layer: str) -> int:
    return max(1, channels // weights[f'{layer}.weight'].shape[0])


def _se(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(reduction=_reduction(channels, weights, 'fc1'), bias='fc1.bias' in weights)


def _eca(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(kernel_size=weights['conv.weight'].shape[-1])


def _cbam(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(
        reduction=_reduction(channels, weights, 'fc1'),
        kernel_size=weights['conv.weight'].shape[-1],
        bias='fc1.bias' in weights,
        norm='norm.weight' in weights,
    )


def _fca(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    arguments: dict[str, Any] = dict(reduction=_reduction(channels, weights, 'fc1'))
    filters = weights.get('dct_layer.weight')  # (C, size, size); not in every file
    if filters is None:
        return arguments
    size = filters.shape[-1]
    for selection in sorted(SELECTIONS, key=lambda name: name != 'top16'):
        count = int(selection[3:])
        if channels % count == 0:
            built = FCA(channels, freq_sel=selection, dct_size=size)
            planes = torch.einsum('fh,fw->fhw', built.vertical, built.horizontal)
            if torch.allclose(planes.repeat_interleave(channels // count, 0), filters, atol=1e-5):
                return dict(**arguments, freq_sel=selection, dct_size=size)
    raise UserError(
        f'its DCT filters of {channels} channels and size {size} are those of no freq_sel that FCA '
        f'has; valid: {", ".join(SELECTIONS)}'
    )


def _sa(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(groups=channels // (2 * weights['cweight'].shape[1]))


def _ca(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(reduction=_reduction(channels, weights, 'conv1'))


def _scsa(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    kernels = [weights[f'smsa.convs.{index}.weight'].shape[-1] for index in range(4)]
    arguments = dict(group_kernel_sizes=tuple(kernels), qkv_bias='pcsa.q.bias' in weights)
    if 'pcsa.conv_d.weight' in weights:
        window = round((weights['pcsa.conv_d.weight'].shape[1] / channels) ** 0.5)
        arguments.update(down_sample_mode='recombination', window_size=window)
    return arguments


def _spatial(channels: int, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    arguments = dict(reduction=_reduction(channels, weights, 'fc1'))
    if 'convs.0.weight' not in weights:
        grid = weights['conv.weight'].shape[-1] if 'conv.weight' in weights else 1
        arguments.update(grid=grid)
    return arguments


# Arguments of an attention from its channels and weights; KeyError if they are another's.
READERS: dict[str, Callable[[int, Mapping[str, Tensor]], dict[str, Any]]] = {
    'SE': _se,
    'ECA': _eca,
    'CBAM': _cbam,
    'FCA': _fca,
    'SA': _sa,
    'CA': _ca,
    'SCSA': _scsa,
    'SPSE': _spatial,
    'RGSE': _spatial,
}
