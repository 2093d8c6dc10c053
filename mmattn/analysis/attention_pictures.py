"""Pictures of what attentions let pass: all of a network over an image, and each one's figures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.analysis.attention_maps import Passed
from mmattn.analysis.plots import COLOURS, COLUMN, PAGE, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Relative shares of 1 +- the limit span the colours; it is at least so wide, at most 0 to 2.
LEAST, MOST = 0.01, 1.0
OVERLAY = dict(cmap='RdBu_r', alpha=0.65, interpolation='bilinear')
RELATIVE = 'share that passes / its mean'
SHARE = r'share $\Sigma|y|\,/\,\Sigma|x|$'


def folders(images: Iterable[Path]) -> dict[Path, str]:
    """Each image's folder: its name without suffix, with a number if another has the same."""
    found: dict[Path, str] = {}
    for image in images:
        names = (f'{image.stem}_{number}' if number else image.stem for number in count())
        found[image] = next(name for name in names if name not in found.values())
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
        silent = len(passed.channels) - len(channels)
        more = f'; {silent} more get nothing' if silent else ''
        curve.set(xlabel=f'channels, sorted{more}', ylabel=SHARE)
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
    finite = (one[np.isfinite(one)] for one in maps)
    reaches = [np.percentile(abs(one - 1), 99) for one in finite if one.size]
    return float(np.clip(np.quantile(reaches or [0], 0.75), LEAST, MOST))


def _colour_bar(shown: Any, axes: Any, location: str, shrink: float) -> None:
    bar = shown.axes.figure.colorbar(
        shown, ax=axes, location=location, shrink=shrink, aspect=30, extend='both'
    )
    bar.set_label(RELATIVE, fontsize=7)
    bar.ax.tick_params(labelsize=6)
