"""The one place that turns ``attention`` configs into modules in named slots.

A block has positions (``after_conv2``, ...). An attention at a position is a
submodule ``attn_<position>``, a second one ``attn_<position>_1``: never part of
an ``nn.Sequential``, so that no stock key shifts.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmattn.attention import Attention
from mmattn.attention.entries import chosen_by_stage, read_entries
from mmattn.utils.errors import InvalidArgument, InvalidValue

# What says where in a backbone an attention goes, or a plugin.
PLACES = ('position', 'stages', 'blocks')


class AttentionCfg(NamedTuple):
    """A checked entry of ``attention``."""

    cls: type[Attention]
    arguments: dict[str, Any]
    position: str
    blocks: tuple[Set[int], ...]  # of each stage, those that have it


class PluginCfg(NamedTuple):
    """One checked entry of ``plugins``, mmdet's way to write the same."""

    cfg: dict[str, Any]
    position: str
    blocks: tuple[Set[int], ...]


class AttentionBlock:
    """Mixin of blocks: holds the slots and runs what is in them.

    A block sets ``default_positions`` (placement of the paper -> position) and
    ``positions`` (all valid ones), calls :meth:`add_slots` at the end of its
    constructor (or is made of a stock block by :meth:`adopt`) and :meth:`run_slots`
    at each position of its forward pass.
    """

    positions: tuple[str, ...]
    default_positions: Mapping[str, str]
    # Ends the names of plugins that give none, where mmdet's name is taken.
    plugin_postfix = ''

    def add_slots(
        self,
        channels: Mapping[str, int],
        attention: Iterable[AttentionCfg] = (),
        plugins: Iterable[PluginCfg] = (),
        stage: int = 0,
        index: int = 0,
        level: int | None = None,
        norm_cfg: dict | None = None,
    ) -> None:
        """Build the modules of this block.

        Args:
            channels: Channels of the features at each position.
            attention, plugins: Checked entries, see :func:`parse_slots`.
            stage, index: Number of the block's stage, and of the block in it, from 0.
            level: What attention with defaults per stage takes for the stage: 0 at
                a quarter of the image's size, 1 at an eighth, ...; default the stage.
            norm_cfg: The backbone's. Attention with a BatchNorm takes its kind over
                (SyncBN, ...), not its ``requires_grad``, ``eps`` and ``momentum``.
        """
        level = stage if level is None else level
        batch_norm = _batch_norm_cfg(norm_cfg)
        self.slots: dict[str, list[str]] = {}
        for cls, arguments, position, blocks in attention:
            if index not in blocks[stage]:
                continue
            taken = [name for name in self.slots.get(position, []) if name.startswith('attn_')]
            name = f'attn_{position}' + (f'_{len(taken)}' if taken else '')
            defaults = cls.slot_defaults(level)
            if 'norm_cfg' in inspect.signature(cls).parameters:
                defaults['norm_cfg'] = batch_norm
            try:
                module = cls(channels[position], **{**defaults, **arguments})
            except ValueError as error:
                raise InvalidValue(f'attention at {position} of stage {stage}: {error}') from error
            self._fill_slot(position, name, module)
        for cfg, position, blocks in plugins:
            if index in blocks[stage]:
                cfg = {'postfix': self.plugin_postfix, **copy.deepcopy(cfg)}
                postfix = cfg.pop('postfix')
                from mmcv.cnn import build_plugin_layer

                built = build_plugin_layer(cfg, postfix, in_channels=channels[position])
                self._fill_slot(position, *built)
        for position in self.slots:
            if (norm := self.norm_after(position)) is not None:
                _register_first(self, norm)

    def norm_after(self, position: str) -> nn.Module | None:
        """The norm layer whose input a position is; None where it is another's."""
        return None

    def slot_channels(self) -> Mapping[str, int]:
        """Channels of the features at each position."""
        raise NotImplementedError

    @classmethod
    def adopt(cls, block: nn.Module, **slots) -> None:
        """Turn a stock block into this class, and add its slots.

        For stock backbones that give no choice of their blocks' class. As torch's
        lazy modules do, the block changes its class: keys and weights stay.

        Args:
            block: A block of the stock class that this one inherits from.
            slots: Arguments of :meth:`add_slots` other than the channels.
        """
        block.__class__ = cls
        block.add_slots(block.slot_channels(), **slots)

    def _fill_slot(self, position: str, name: str, module: nn.Module) -> None:
        if hasattr(self, name):
            raise InvalidValue(
                f'two modules of one block are called {name!r}; give the second plugin another '
                f"name with dict(cfg=dict(..., postfix='_1'))"
            )
        self.add_module(name, module)
        self.slots.setdefault(position, []).append(name)

    def run_slots(self, position: str, x: Tensor) -> Tensor:
        for name in self.slots.get(position, ()):
            x = getattr(self, name)(x)
        return x

    def recomputed(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``function(x)``; ``with_cp`` computes it again in the backward pass to save memory."""
        if self.with_cp and x.requires_grad:
            return checkpoint(function, x, use_reentrant=False)
        return function(x)


def _batch_norm_cfg(norm_cfg: dict | None) -> dict | None:
    """What attention takes over of a backbone's ``norm_cfg``."""
    if norm_cfg is None:
        return None
    from mmcv.cnn.bricks.norm import infer_abbr

    kind = norm_cfg['type']
    cls = ROOT_MODELS.get(kind) if isinstance(kind, str) else kind
    if cls is None or infer_abbr(cls) != 'bn':
        return None
    own = ('requires_grad', 'eps', 'momentum')
    return {key: value for key, value in norm_cfg.items() if key not in own}


def _register_first(root: nn.Module, norm: nn.Module) -> None:
    """Put ``norm`` in front of the other children of its parent; names stay.

    mmcv's ``fuse_conv_bn`` folds a norm into the convolution that is registered before
    it, whatever is computed between the two.
    """
    for parent in root.modules():
        for name, child in list(parent._modules.items()):
            if child is norm:
                others = {**parent._modules}
                parent._modules.clear()
                parent._modules.update({name: norm, **others})


def parse_slots(
    block: type[AttentionBlock],
    stage_blocks: Sequence[int],
    attention: dict | Sequence[dict] | None,
    plugins: Sequence[dict] | None,
    norm_cfg: dict | None,
) -> dict[str, Any]:
    """What all blocks of a backbone give :meth:`AttentionBlock.add_slots`, checked."""
    return dict(
        attention=parse_attention(attention, stage_blocks, block),
        plugins=parse_plugins(plugins, stage_blocks, block),
        norm_cfg=norm_cfg,
    )


def parse_attention(
    attention: dict | Sequence[dict] | None,
    stage_blocks: int | Sequence[int],
    block: type[AttentionBlock],
) -> list[AttentionCfg]:
    """Check the ``attention`` argument of a backbone before anything is built.

    Args:
        attention: None, a dict with ``type``, the attention's arguments and optionally
            ``position``, ``stages`` and ``blocks``, or a list of such dicts; it is not changed.
        stage_blocks: How many blocks each stage has; a number is that of stages which are
            one block each.

    Raises:
        TypeError: If it is something else, or has an argument that the class does not take.
        KeyError: If ``type`` is not a registered attention.
        ValueError: If ``position``, ``stages`` or ``blocks`` does not fit the backbone.
    """
    parsed = []
    for cls, arguments, place in read_entries(attention, PLACES):
        if place.get('position') is None:
            place['position'] = block.default_positions[cls.placement]
        parsed.append(AttentionCfg(cls, arguments, *check_place(place, stage_blocks, block)))
    return parsed


def parse_plugins(
    plugins: Sequence[dict] | None,
    stage_blocks: int | Sequence[int],
    block: type[AttentionBlock],
) -> list[PluginCfg]:
    """Check mmdet's ``plugins``: dicts with ``cfg``, ``position``, ``stages`` and ``blocks``.

    Raises:
        TypeError: If an entry is not a dict with ``cfg`` and ``position``.
        ValueError: If ``position``, ``stages`` or ``blocks`` does not fit the backbone.
    """
    parsed = []
    for entry in plugins or ():
        if not isinstance(entry, Mapping) or 'cfg' not in entry or 'position' not in entry:
            raise InvalidArgument(
                f"each plugin must be a dict with 'cfg' and 'position', got {entry!r}"
            )
        unknown = set(entry) - {'cfg', *PLACES, '_scope_'}
        if unknown:
            raise InvalidArgument(
                f'a plugin takes no key {", ".join(map(repr, sorted(unknown)))}; '
                f'valid: cfg, {", ".join(PLACES)}'
            )
        place = check_place(entry, stage_blocks, block)
        parsed.append(PluginCfg(dict(entry['cfg']), *place))
    return parsed


def check_place(
    place: Mapping[str, Any], stage_blocks: int | Sequence[int], block: type[AttentionBlock]
) -> tuple[str, tuple[Set[int], ...]]:
    """The position, and of each stage the blocks that a config names."""
    position, stages, blocks = map(place.get, PLACES)
    if position not in block.positions:
        raise InvalidValue(
            f'unknown position {position!r} in a {block.__name__}; '
            f'valid: {", ".join(block.positions)}'
        )
    counts = (1,) * stage_blocks if isinstance(stage_blocks, int) else tuple(stage_blocks)
    if stages is None:
        stages = (True,) * len(counts)
    elif (
        isinstance(stages, str)
        or not isinstance(stages, Sequence)
        or len(stages) != len(counts)
        or any(not isinstance(flag, bool) for flag in stages)
    ):
        raise InvalidValue(
            f'stages must be {len(counts)} bools, one per stage of the backbone, got {stages!r}'
        )
    pairs = zip(chosen_by_stage(blocks, counts), stages, strict=True)
    chosen = tuple(numbers if flag else set() for numbers, flag in pairs)
    if blocks is not None and not any(chosen):
        raise InvalidValue(
            f'blocks={blocks!r} of stages={tuple(stages)} are none: the stages have '
            f'{", ".join(map(str, counts))} blocks'
        )
    return position, chosen
