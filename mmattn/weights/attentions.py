"""From the shapes of the weights in the slots to the ``attention`` argument of a backbone."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmattn.attention import Attention
from mmattn.attention.names import find_attention
from mmattn.backbones.base import AttentionBackbone
from mmattn.backbones.loading import blocks_by_stage
from mmattn.backbones.slots import AttentionBlock
from mmattn.utils.errors import UserError
from mmattn.weights.source import CheckpointSource

# Arguments of which several values give the same layers.
ROUNDED = {'reduction', 'kernel_size'}


def block_class(backbone: AttentionBackbone) -> type[AttentionBlock]:
    """The class of the backbone's blocks, which knows the positions."""
    return next(type(block) for block in backbone.modules() if isinstance(block, AttentionBlock))


def read_attention(
    source: CheckpointSource, backbone: AttentionBackbone, weights: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Tell the ``attention`` argument from what is in the slots.

    Args:
        source: Where the checkpoint comes from.
        backbone: The backbone without attention.
        weights: Name in the backbone -> tensor, in slots under the original's names.

    Raises:
        UserError: If it fits none that the source has.
    """
    block = block_class(backbone)
    if source.positions:
        place = next(name for name in source.positions if name in block.positions)
        return [_entry(block, find_attention(source.attention[0]), place, source.arguments)]
    by_slot: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        if match := re.match(r'(.+?)\.attn_([a-z]+_[a-z\d]+)\.(.+)', name):
            by_slot.setdefault((match[1], match[2]), {})[match[3]] = tensor
    names = [name for name, m in backbone.named_modules() if isinstance(m, AttentionBlock)]
    stages = blocks_by_stage(names, r'(\D+(\d+)\D+(\d+))$')
    entries = []
    for position in sorted({position for _, position in by_slot}):
        slots = [
            [_read_slot(source, backbone, prefix, position, level, by_slot) for prefix in blocks]
            for blocks, level in zip(stages, backbone.levels, strict=False)
        ]
        entries += _entries(slots)
    return entries


def _read_slot(
    source: CheckpointSource,
    backbone: AttentionBackbone,
    prefix: str,
    position: str,
    level: int,
    by_slot: Mapping[tuple[str, str], Mapping[str, Tensor]],
) -> tuple[dict[str, Any], dict[str, Any]] | tuple[None, None]:
    """The entry of one slot, and the same without what only rounding hides."""
    weights, block = by_slot.get((prefix, position)), backbone.get_submodule(prefix)
    if weights is None:
        return None, None
    channels = block.slot_channels()[position]
    for cls in map(find_attention, source.attention):
        own = {cls.own_name(name) or name: tensor for name, tensor in weights.items()}
        try:
            arguments = {**source.arguments, **cls.arguments_from(channels, own)}
        except KeyError:
            continue
        exact, rounded = _without_defaults(cls, channels, level, arguments)
        return _entry(block, cls, position, exact), _entry(block, cls, position, rounded)
    raise UserError(
        f'{prefix} has a module with {", ".join(list(weights)[:3])}, which is none of '
        f'{", ".join(source.attention) or "the attentions"} of {source.origin}'
    )


def _entry(
    block: AttentionBlock | type[AttentionBlock],
    cls: type[Attention],
    position: str,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    default = block.default_positions[cls.placement]
    place = {} if position == default else dict(position=position)
    return dict(type=cls.__name__, **arguments, **place)


def _without_defaults(
    cls: type[Attention], channels: int, level: int, arguments: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments that are no defaults, and those that give other layers than defaults."""

    def shapes(given: dict[str, Any]) -> dict[str, torch.Size]:
        module = cls(channels, **{**stage_defaults, **given})
        return {name: value.shape for name, value in module.state_dict().items()}

    stage_defaults = cls.slot_defaults(level)
    parameters = inspect.signature(cls).parameters.items()
    defaults = {name: parameter.default for name, parameter in parameters} | stage_defaults
    exact = {name: value for name, value in arguments.items() if value != defaults[name]}
    rounded = exact
    for name in ROUNDED & set(exact):
        fewer = {key: value for key, value in rounded.items() if key != name}
        if shapes(fewer) == shapes(rounded):
            rounded = fewer
    return exact, rounded


def _entries(slots: list[list[tuple]]) -> list[dict[str, Any]]:
    """As few entries of ``attention`` as say what is at one position, in which blocks."""
    # What only rounding hides is left out if that makes one entry of all stages.
    for rounded in (True, False, True):
        stages = [[slot[rounded] for slot in blocks] for blocks in slots]
        uneven = [n for n, blocks in enumerate(stages) if any(e != blocks[0] for e in blocks)]
        found = [blocks[0] for blocks in stages]
        different = [e for n, e in enumerate(found) if e is not None and e not in found[:n]]
        if not uneven and (len(different) == 1 or not rounded):
            break
    if uneven:
        every = [entry for blocks in stages for entry in blocks if entry is not None]
        return [
            {**each, 'blocks': [[n for n, e in enumerate(own) if e == each] for own in stages]}
            for n, each in enumerate(every)
            if each not in every[:n]
        ]
    everywhere = None not in found and len(different) == 1
    return [
        each if everywhere else {**each, 'stages': tuple(other == each for other in found)}
        for each in different
    ]
