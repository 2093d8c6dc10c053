"""What each attention in a network lets pass of the features on an image.

The share is the sum of |y| over the sum of |x|, x being an attention's input and y its output:
over all but one channel, row or column, or over the channels of one position. 1 is what comes
in; attentions that add, or that scale by more than a gate, have more.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.analysis.plots import COLOURS, COLUMN, PAGE, figure
from mmattn.attention import Attention
from mmattn.utils.errors import UnknownName, UserError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mmattn.analysis.trained import Trained

# Relative shares of 1 +- the limit span the colours; it is at least so wide, at most 0 to 2.
LEAST, MOST = 0.01, 1.0
OVERLAY = dict(cmap='RdBu_r', alpha=0.65, interpolation='bilinear')
RELATIVE = 'share that passes / its mean'
SHARE = r'share $\Sigma|y|\,/\,\Sigma|x|$'


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
        return self.positions / np.nanmean(self.positions)

    def row(self) -> dict[str, str]:
        """Of a table: where it is, the share, and the range of most channels and positions."""
        ends = (np.nanpercentile(each, (5, 95)) for each in (self.channels, self.positions))
        channels, positions = (f'{low:.4g} - {high:.4g}' for low, high in ends)
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
    """
    found: list[Passed] = []

    def note(slot: str, module: Attention, inputs: tuple, y: Tensor) -> None:
        x = inputs[0]
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


def folders(images: Iterable[Path]) -> dict[Path, str]:
    """Each image's folder: its name without suffix, with a number if another has the same."""
    found: dict[Path, str] = {}
    for image in images:
        same = sum(image.stem == other.stem for other in found)
        found[image] = f'{image.stem}_{same + 1}' if same else image.stem
    return found


def draw(folder: Path, picture: np.ndarray, found: Sequence[Passed]) -> Iterator[Path]:
    """Write ``slots.png`` with all attentions that see the whole image, and one PNG of each."""
    whole = [one for one in found if one.maps == 1]
    if whole:
        title, names = titles(whole)
        maps = {name: one.relative() for name, one in zip(names, whole, strict=True)}
        draw_sheet(folder / 'slots.png', picture, maps, title)
        yield folder / 'slots.png'
    for one in found:
        draw_slot(folder / f'{one.slot}.png', picture, one)
        yield folder / f'{one.slot}.png'


def draw_sheet(
    path: Path, picture: np.ndarray, maps: Mapping[str, np.ndarray], title: str = ''
) -> None:
    """Maps over one image beside each other, with the same colours.

    Args:
        path: Picture to write; .png, .pdf, .svg.
        picture: (H, W, 3), uint8, RGB.
        maps: Title -> relative shares (H', W') of the whole image.
        title: Above all.
    """
    tiles = len(maps) + 1
    columns = min(tiles, min(range(4, 7), key=lambda columns: -tiles % columns))
    rows = -(-tiles // columns)
    tile = PAGE / columns
    height = rows * (tile * picture.shape[0] / picture.shape[1] + 0.2) + 0.65
    limit = _limit(maps.values())
    with figure(path, rows, columns, figsize=(PAGE, height)) as (drawn, axes):
        for axis in axes.flat:
            axis.axis('off')
        axes.flat[0].imshow(picture)
        axes.flat[0].set_title('image', fontsize=7)
        for axis, (name, values) in zip(axes.flat[1:], maps.items(), strict=False):
            shown = _overlay(axis, picture, values, limit)
            axis.set_title(name, fontsize=7)
        drawn.suptitle(title, fontsize=8)
        _colour_bar(shown, axes, 'bottom', shrink=0.5)


def draw_slot(path: Path, picture: np.ndarray, passed: Passed) -> None:
    """One attention: its map over the image, rows and columns beside it, and its channels."""
    relative = passed.relative()
    limit = _limit([relative])
    on_regions = passed.maps > 1
    shape = relative.shape if on_regions else picture.shape[:2]
    # In inches; the profiles are as wide as half an inch whatever the image's shape.
    width, strip = 2.1, 0.45
    height = min(width * shape[0] / shape[1], 3.0)
    width = height * shape[1] / shape[0]
    options = dict(figsize=(COLUMN, height + 3.3), height_ratios=(height + strip, 1.2))
    with figure(path, 2, 1, **options) as (drawn, ((axis,), (curve,))):
        shown = _overlay(axis, None if on_regions else picture, relative, limit)
        axis.set(xticks=[], yticks=[])
        (high, wide), (bottom, right) = relative.shape, shape
        rows = axis.inset_axes((1 + 0.08 / width, 0, strip / width, 1))
        rows.plot(passed.rows, (np.arange(high) + 0.5) * bottom / high)
        rows.set(ylim=(bottom, 0), yticks=[], xlabel='share\nof rows')
        columns = axis.inset_axes((0, -(strip + 0.08) / height, 1, strip / height))
        columns.plot((np.arange(wide) + 0.5) * right / wide, passed.columns)
        columns.set(xlim=(0, right), xticks=[], ylabel='share of\ncolumns')
        rows.locator_params(axis='x', nbins=2)
        columns.locator_params(axis='y', nbins=2)
        rows.tick_params(labelsize=6, labelrotation=90)
        columns.tick_params(labelsize=6)
        _colour_bar(shown, axis, 'top', shrink=0.8)
        channels = np.sort(passed.channels[np.isfinite(passed.channels)])[::-1]
        curve.plot(np.arange(1, len(channels) + 1), channels)
        mean = dict(color=COLOURS[1], linestyle='--', label=f'all: {passed.total:.4g}')
        curve.axhline(passed.total, **mean)
        curve.legend(loc='upper right')
        curve.set(xlabel='channels, sorted', ylabel=SHARE)
        regions = f' of {passed.maps} regions' if on_regions else ''
        title = f'{passed.kind}: {passed.slot}\n{len(passed.channels)} channels, {high} x {wide}'
        drawn.suptitle(title + regions, fontsize=8)


def titles(found: Sequence[Passed]) -> tuple[str, list[str]]:
    """What the slots' names have in common, and each without it, for a sheet."""
    split = [one.slot.split('.') for one in found]
    first, last = 0, 0
    if len(split) > 1:
        shortest = min(map(len, split)) - 1
        while first < shortest and len({parts[first] for parts in split}) == 1:
            first += 1
        while last < shortest - first and len({parts[-1 - last] for parts in split}) == 1:
            last += 1
    kinds = list(dict.fromkeys(one.kind for one in found))
    names = ['.'.join(parts[first : len(parts) - last]) for parts in split]
    if len(kinds) > 1:
        names = [f'{one.kind}: {name}' for one, name in zip(found, names, strict=True)]
    if len(split) == 1:
        return kinds[0], names
    common = '.'.join([*split[0][:first], '*', *split[0][len(split[0]) - last :]])
    return f'{", ".join(kinds)} at {common}', names


def _overlay(axis: 'Axes', picture: np.ndarray | None, values: np.ndarray, limit: float) -> Any:
    height, width = values.shape if picture is None else picture.shape[:2]
    extent = (0, width, height, 0)
    if picture is not None:
        axis.imshow(picture.mean(2), cmap='gray', vmin=0, vmax=255, extent=extent)
    return axis.imshow(values, extent=extent, vmin=1 - limit, vmax=1 + limit, **OVERLAY)


def _limit(maps: Iterable[np.ndarray]) -> float:
    """How far the colours reach from 1: as far as three quarters of the maps do, 99 % of each."""
    reaches = [np.nanpercentile(abs(one - 1), 99) for one in maps]
    return float(np.clip(np.quantile(reaches, 0.75), LEAST, MOST))


def _colour_bar(shown: Any, axes: Any, location: str, shrink: float) -> None:
    bar = shown.axes.figure.colorbar(
        shown, ax=axes, location=location, shrink=shrink, aspect=30, extend='both'
    )
    bar.set_label(RELATIVE, fontsize=7)
    bar.ax.tick_params(labelsize=6)


def _digits(value: Any) -> Any:
    if isinstance(value, list):
        return [_digits(one) for one in value]
    return float(f'{value:.4g}') if math.isfinite(value) else None
