"""What each attention in a network lets pass of the features on an image.

The share is the sum of |y| over the sum of |x|, x being an attention's input and y its output:
over all but one channel, row or column, or over the channels of one position. 1 is what comes
in; attentions that add, or that scale by more than a gate, have more. Where an attention shuffles
its channels (SA), a channel's share compares what leaves under its number with what came under it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.attention import Attention
from mmattn.utils.errors import UnknownName, UserError, did_you_mean

if TYPE_CHECKING:
    from mmattn.analysis.trained import Trained


@dataclass(frozen=True)
class Passed:
    """What an attention let pass in one call; NaN where nothing came in.

    Args:
        slot: Its name in the network.
        kind: Its class.
        maps: Number of maps; more than one are of regions, not of the image.
        total: Share of the whole map.
        channels, rows, columns, positions: Shares of shape (C,), (H,), (W,) and (H, W).
    """

    slot: str
    kind: str
    maps: int
    total: float
    channels: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    positions: np.ndarray

    @classmethod
    def of(cls, slot: str, kind: str, x: Tensor, y: Tensor) -> 'Passed':
        """The shares of an input and an output, (N, C, H, W)."""
        came, left = x.detach().double().abs(), y.detach().double().abs()
        shares = [
            (left.sum(axes) / came.sum(axes)).masked_fill(came.sum(axes) == 0, math.nan).cpu()
            for axes in ((0, 1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2), (0, 1))
        ]
        return cls(slot, kind, len(x), float(shares[0]), *(share.numpy() for share in shares[1:]))

    def relative(self) -> np.ndarray:
        """The positions' shares over their mean."""
        found = _finite(self.positions)
        return self.positions / (found.mean() if found.size else math.nan)

    def row(self) -> dict[str, str]:
        """Of a table: where it is, the share, and the range of most channels and positions."""
        found = (_finite(each) for each in (self.channels, self.positions))
        channels, positions = (
            '{:.4g} - {:.4g}'.format(*np.percentile(each, (5, 95))) if each.size else '-'
            for each in found
        )
        return {
            'slot': self.slot,
            'attention': self.kind,
            'channels': str(len(self.channels)),
            'map': ' x '.join(map(str, self.positions.shape)),
            'share': f'{self.total:.4g}',
            'channels 5-95%': channels,
            'positions 5-95%': positions,
        }

    def figures(self) -> dict[str, Any]:
        """All of it for a JSON file, with four digits; None where nothing came in."""
        arrays = ('channels', 'rows', 'columns', 'positions')
        return dict(
            kind=self.kind,
            maps=self.maps,
            shape=[len(self.channels), *self.positions.shape],
            total=_digits(self.total),
            **{name: _digits(getattr(self, name).tolist()) for name in arrays},
        )


def attentions(model: nn.Module) -> dict[str, Attention]:
    """Name -> attention, of those that are no part of another, as SCSA's halves are.

    Raises:
        UserError: If there is none.
    """
    found: dict[str, Attention] = {}
    for name, module in model.named_modules():
        outer = any(name.startswith(f'{slot}.') for slot in found)
        if isinstance(module, Attention) and not outer:
            found[name] = module
    if not found:
        backbone = type(getattr(model, 'backbone', model))
        raise UserError(
            f'the network has no attention (its backbone is {backbone.__module__}.'
            f"{backbone.__name__}); e.g. backbone=dict(type='mmattn.ResNet', "
            "attention=dict(type='SCSA')) has."
        )
    return found


def choose(slots: Mapping[str, Attention], wanted: Iterable[str]) -> dict[str, Attention]:
    """Those slots that a name or shell pattern (``backbone.layer4.*``) fits; without any all.

    Raises:
        UnknownName: If a name fits none.
    """
    wanted = list(wanted) or ['*']
    for name in wanted:
        if not any(fnmatchcase(slot, name) for slot in slots):
            meant = did_you_mean(name, slots) or f' There are: {", ".join(slots)}.'
            raise UnknownName(f'--slot {name!r}: the network has no such attention.{meant}')
    return {
        slot: module
        for slot, module in slots.items()
        if any(fnmatchcase(slot, name) for name in wanted)
    }


def record(
    run: Callable[[], object],
    slots: Mapping[str, Attention],
    inside: tuple[float, float] = (1.0, 1.0),
) -> list[Passed]:
    """Call ``run`` and note what the attentions let pass meanwhile, in the order they run.

    Args:
        run: A forward pass of the network.
        slots: Name -> attention, see :func:`attentions`.
        inside: Share of the height and of the width that is image; what is below it and on its
            right is padding, and left out.

    Raises:
        UserError: If none of the attentions runs, or features are not finite.
    """
    found: list[Passed] = []

    def note(slot: str, module: Attention, inputs: tuple, y: Tensor) -> None:
        x = inputs[0]
        if not (x.isfinite().all() and y.isfinite().all()):
            raise UserError(f'{slot}: the features are not finite; the weights have diverged.')
        if len(x) == 1:
            height, width = (
                math.ceil(side * share) for side, share in zip(x.shape[2:], inside, strict=True)
            )
            x, y = x[..., :height, :width], y[..., :height, :width]
        calls = 1 + sum(one.slot.partition(' ')[0] == slot for one in found)
        name = f'{slot} ({calls})' if calls > 1 else slot
        found.append(Passed.of(name, type(module).__name__, x, y))

    with ExitStack() as hooks, torch.no_grad():
        for name, module in slots.items():
            hooks.enter_context(module.register_forward_hook(partial(note, name)))
        run()
    if not found:
        raise UserError(f'no attention of {", ".join(slots)} runs in a prediction.')
    return found


def on_image(
    trained: 'Trained', image: Path, slots: Mapping[str, Attention]
) -> tuple[np.ndarray, list[Passed]]:
    """The image as the network gets it, (H, W, 3) RGB, and what its attentions let pass.

    Classifiers and segmenters run to their logits, detectors to their detections.
    """
    sample = trained.sample(image)
    inputs, samples = trained.batch(sample)
    mode = 'predict' if trained.cfg.default_scope == 'mmdet' else 'tensor'
    height, width = sample['inputs'].shape[1:]
    inside = (height / inputs.shape[2], width / inputs.shape[3])
    found = record(lambda: trained.model(inputs, samples, mode=mode), slots, inside)
    return trained.picture(sample), found


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _digits(value: Any) -> Any:
    if isinstance(value, list):
        return [_digits(one) for one in value]
    return float(f'{value:.4g}') if math.isfinite(value) else None
