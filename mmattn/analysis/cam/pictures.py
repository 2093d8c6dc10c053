"""Maps over their images as figures: one for each image, and a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmattn.analysis.cam.network import Explanation, View
from mmattn.analysis.plots import COLOURS, PAGE, figure

MAP = 'cividis'
# How much of the picture's own light is left under a map.
PHOTO = 0.45
SHEET, COLUMNS = 12, 6  # images on the sheet at most, pictures in a row of it
# The surest; more would hide what is below.
BOXES = 8


@dataclass(frozen=True)
class Tile:
    """One picture of a figure."""

    picture: np.ndarray  # (H, W, 3) uint8
    cam: np.ndarray | None = None  # (H, W)
    title: str = ''
    side: str = ''  # at its left
    boxes: tuple = ()
    outline: np.ndarray | None = None  # the ground truth, (H, W)


def overlay(picture: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """A map in colours over a grey picture, (H, W, 3), of 0 to 1; of a map of zeros: the picture.

    Args:
        picture: (H, W, 3), uint8.
        cam: (H, W), at least 0; shown as a share of its maximum.
    """
    from matplotlib import colormaps

    if not cam.max() > 0:
        return picture / 255
    grey = picture.mean(2, keepdims=True) / 255
    return PHOTO * grey + (1 - PHOTO) * colormaps[MAP](cam / cam.max())[..., :3]


def tiles_of(
    view: View, names: Sequence[str], outlines: Sequence[np.ndarray | None], side: str = ''
) -> list[Tile]:
    """The picture of a view, then its maps."""
    tiles = [Tile(view.picture, title='input', side=side)]
    for one, outline in zip(view.explanations, outlines, strict=True):
        title = title_of(one, names)
        tiles.append(Tile(view.picture, one.cam, title, '', one.boxes, outline))
    return tiles


def title_of(one: Explanation, names: Sequence[str]) -> str:
    """Class and score."""
    name = names[one.label] if one.label < len(names) else f'class {one.label}'
    if one.score is None:
        return f'{name}: not found'
    # Nothing in the map speaks for it; the picture is then left as it is.
    return f'{name} {one.score:.2f}' + ('' if one.cam.any() else ', map: 0')


def draw(path: Path, rows: Sequence[Sequence[Tile]]) -> None:
    """Write tiles as a figure of a page's width; rows may be of different lengths."""
    columns = max(map(len, rows))
    side = PAGE / max(columns, 3)
    tallest = [max(t.picture.shape[0] / t.picture.shape[1] for t in row) for row in rows]
    size = side * columns + 0.5, sum(side * ratio + 0.3 for ratio in tallest)
    ratios = dict(height_ratios=tallest)
    with figure(path, len(rows), columns, figsize=size, gridspec_kw=ratios) as (drawn, axes):
        for axis in axes.flat:
            axis.set_axis_off()
        for line, row in zip(axes, rows, strict=True):
            for axis, tile in zip(line, row, strict=False):
                _draw(axis, tile, round(side * 72 / 4.2))
        if any(tile.cam is not None for row in rows for tile in row):
            _legend(drawn, axes)


def _draw(axis, tile: Tile, letters: int) -> None:
    from matplotlib.patches import Rectangle

    shown = tile.picture if tile.cam is None else overlay(tile.picture, tile.cam)
    axis.imshow(shown, interpolation='nearest')
    axis.autoscale(False)  # a box may leave the picture
    lines = [
        line if len(line) <= letters else line[: letters - 3] + '...'
        for line in tile.title.splitlines()
    ]
    axis.set_title('\n'.join(lines), fontsize=8, pad=3)
    if tile.side:
        axis.text(
            -0.04, 0.5, tile.side, rotation=90, ha='right', va='center', transform=axis.transAxes
        )
    for x1, y1, x2, y2 in tile.boxes[:BOXES]:
        axis.add_patch(
            Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=COLOURS[3], linewidth=0.9)
        )
    if tile.outline is not None and tile.outline.any() and not tile.outline.all():
        axis.contour(tile.outline, levels=[0.5], colors='white', linewidths=0.7)


def _legend(drawn, axes) -> None:
    from matplotlib.cm import ScalarMappable

    scale = ScalarMappable(cmap=MAP)
    scale.set_clim(0, 1)
    bar = drawn.colorbar(scale, ax=axes, fraction=0.03, pad=0.01, aspect=30)
    bar.set_label('map, share of its maximum', fontsize=7)
    bar.ax.tick_params(labelsize=7)
