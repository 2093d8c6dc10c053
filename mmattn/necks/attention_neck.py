"""Attention on every level of a feature pyramid."""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS as ROOT_MODELS
from torch import Tensor, nn

from mmattn.backbones.slots import AttentionBlock, AttentionCfg, parse_attention
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue

INNER = 'neck.'


class Level(AttentionBlock, nn.Module):
    """The slot of one pyramid level."""

    positions = ('after_neck',)
    default_positions = dict.fromkeys(('inner', 'before_norm', 'outer'), 'after_neck')

    def __init__(
        self, channels: int, attention: Sequence[AttentionCfg], level: int, norm_cfg: dict | None
    ) -> None:
        super().__init__()
        self.add_slots({'after_neck': channels}, attention, stage=level, norm_cfg=norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        return self.run_slots('after_neck', x)


@MODELS.register_module()
class AttentionNeck(BaseModule):
    """Runs a neck and puts attention on each of its outputs.

    The inner neck's state_dict keys stay as they are, without a prefix, so that
    a detector's checkpoint loads; attention lies under ``levels.*``.

    Args:
        attention: A dict or a list of dicts as in the backbones; ``stages`` is
            a bool per level, each of which is one block.
        neck: Config of the inner neck, resolved in the active default scope.
            Leave it out in a list of necks, where the features come from the
            neck before.
        in_channels: Channels of the levels, if they cannot be read off the inner
            neck's ``out_channels``: one number or one per level.
        num_levels: Number of levels, if it cannot be read off ``num_outs``.
        init_cfg: MMEngine's initialisation config.

    Shape:
        A tuple of (N, C_i, H_i, W_i), what the inner neck takes, -> a tuple of
        (N, C_i, H_i, W_i), what it gives.

    Raises:
        TypeError: If ``attention`` is missing or of another form.
        ValueError: If channels or levels are unknown, or contradict the neck.
    """

    def __init__(
        self,
        attention: dict | Sequence[dict] | None,
        neck: dict | None = None,
        in_channels: int | Sequence[int] | None = None,
        num_levels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.neck = None if neck is None else ROOT_MODELS.build(copy.deepcopy(neck))
        channels = self._channels(in_channels, num_levels)
        parsed = parse_attention(attention, len(channels), Level)
        self.levels = nn.ModuleList(
            Level(width, parsed, level, (neck or {}).get('norm_cfg'))
            for level, width in enumerate(channels)
        )
        self.out_channels = in_channels if self.neck is None else self.neck.out_channels
        self._register_state_dict_hook(_without_prefix)
        self._register_load_state_dict_pre_hook(_with_prefix, with_module=True)

    def _channels(
        self, in_channels: int | Sequence[int] | None, num_levels: int | None
    ) -> tuple[int, ...]:
        """Channels of each level, from the inner neck and the arguments."""
        channels = self._agreed('in_channels', in_channels, 'out_channels')
        levels = self._agreed('num_levels', num_levels, 'num_outs')
        if channels is None:
            name = type(self.neck).__name__
            where = 'without an inner neck' if self.neck is None else f'{name} has no out_channels'
            raise InvalidValue(f'AttentionNeck: {where}: give in_channels (and num_levels)')
        if isinstance(channels, int):
            if levels is None:
                raise InvalidValue('AttentionNeck: give num_levels, the number of feature maps')
            return (channels,) * levels
        channels = tuple(channels)
        if num_levels not in (None, len(channels)):
            raise InvalidValue(
                f'AttentionNeck: num_levels={num_levels}, but there are channels for '
                f'{len(channels)} levels: {channels}'
            )
        return channels

    def _agreed(self, argument: str, value: Any, attribute: str) -> Any:
        """An argument, or what the inner neck says of itself; refused if they differ."""
        known = getattr(self.neck, attribute, None)
        if value is not None and known is not None and value != known:
            name = type(self.neck).__name__
            raise InvalidValue(
                f'AttentionNeck: {argument}={value!r}, but {name} has {attribute}={known!r}'
            )
        return known if value is None else value

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outs = inputs if self.neck is None else self.neck(inputs)
        if len(outs) != len(self.levels):
            raise InvalidValue(
                f'AttentionNeck was built for {len(self.levels)} levels and got {len(outs)}; '
                f'set num_levels={len(outs)}'
            )
        return tuple(level(x) for level, x in zip(self.levels, outs, strict=True))


def _without_prefix(module: AttentionNeck, state_dict: dict, prefix: str, *_) -> None:
    for key in [key for key in state_dict if key.startswith(prefix + INNER)]:
        state_dict[prefix + key[len(prefix + INNER) :]] = state_dict.pop(key)


def _with_prefix(module: AttentionNeck, state_dict: dict, prefix: str, *_) -> None:
    if module.neck is None:
        return
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key[len(prefix) :]
        if not name.startswith('levels.'):
            state_dict[prefix + INNER + name] = state_dict.pop(key)
