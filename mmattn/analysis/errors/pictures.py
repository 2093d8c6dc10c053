"""The pictures: confusion matrices, bars beside a baseline's, contact sheets."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from torch import Tensor

from mmattn.analysis.plots import COLOURS, COLUMN, PAGE, figure

NUMBERED = 16  # classes whose matrix has numbers
NAMED = 40  # classes whose matrix has names
BARS = 30
LETTERS = 20  # of a class name on an axis


def draw_confusion(path: Path, matrix: np.ndarray, labels: Sequence[str], title: str) -> Path:
    """A confusion matrix, counts by annotated class (row), as percentages of the rows.

    Classes that are neither annotated nor predicted are left out, unless the others are so many
    that a class goes by its index.
    """
    occur = np.flatnonzero(matrix.sum(0) + matrix.sum(1))
    if len(occur) <= NAMED:
        matrix, labels = matrix[np.ix_(occur, occur)], [labels[index] for index in occur]
    size = len(matrix)
    totals = matrix.sum(1, keepdims=True)
    percent = np.divide(100.0 * matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    width = COLUMN if size <= 6 else PAGE
    with figure(path, figsize=(width, width * 0.86)) as (drawn, axes):
        ax = axes[0, 0]
        image = ax.imshow(percent, cmap='cividis', vmin=0, vmax=100, interpolation='nearest')
        drawn.suptitle(textwrap.fill(title, 40), fontsize=9)
        ax.set(xlabel='predicted', ylabel='annotated')
        drawn.colorbar(image, ax=ax, label='% of the row', shrink=0.8)
        ax.spines[:].set_visible(False)
        if size <= NAMED:
            names = [short(label) for label in labels]
            ax.set_xticks(range(size), names, rotation=90, fontsize=8 if size <= 20 else 6)
            ax.set_yticks(range(size), names, fontsize=8 if size <= 20 else 6)
        else:
            ax.set(xlabel='predicted (index of the class)', ylabel='annotated (index of the class)')
        for row, column in np.ndindex(matrix.shape) if size <= NUMBERED else ():
            if matrix[row, column]:
                value = percent[row, column]
                ax.text(
                    column,
                    row,
                    f'{value:.0f}' if value >= 1 else '<1',
                    ha='center',
                    va='center',
                    fontsize=8 if size <= 10 else 6,
                    color='black' if value > 55 else 'white',
                )
    return path


def draw_bars(
    path: Path,
    names: Sequence[str],
    series: dict[str, Sequence[float]],
    label: str,
    most: int = BARS,
) -> Path:
    """Horizontal bars, one of each series by name; of many names the first ones.

    Args:
        series: Name in the legend -> a figure for each name; where the first one has none (nan),
            there is no bar.
        label: Of the figures, with their unit.
    """
    given = np.flatnonzero(~np.isnan(next(iter(series.values()))))[:most]
    names = [short(names[index]) for index in given]
    thickness = 0.8 / len(series)
    height = 0.7 + max(0.16 * len(series), 0.2) * len(names)
    with figure(path, figsize=(COLUMN, height)) as (drawn, axes):
        ax = axes[0, 0]
        for index, (key, values) in enumerate(series.items()):
            places = np.arange(len(names)) + (index - (len(series) - 1) / 2) * thickness
            colour = COLOURS[index]
            ax.barh(
                places, np.nan_to_num(np.asarray(values)[given]), thickness, label=key, color=colour
            )
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel(label)
        if len(series) > 1:
            drawn.legend(loc='outside upper center', ncols=len(series))
    return path


def draw_sheet(
    path: Path,
    tiles: Sequence[tuple[str, Callable[[Any], None]]],
    columns: int,
    legend: dict[str, Any] | None = None,
    aspect: float = 0.75,
) -> Path:
    """A sheet of small pictures as wide as a page.

    Args:
        tiles: Title of each, and what draws it on given axes.
        legend: Name -> artist.
        aspect: Height over width of a tile.
    """
    rows = -(-len(tiles) // columns)
    height = rows * (PAGE / columns * aspect + 0.2) + 0.3
    with figure(path, rows, columns, figsize=(PAGE, height)) as (drawn, axes):
        for ax in axes.flat:
            ax.axis('off')
        for ax, (title, draw) in zip(axes.flat, tiles, strict=False):
            ax.set_title(title, fontsize=7, pad=2)
            draw(ax)
        if legend:
            drawn.legend(
                legend.values(), legend.keys(), loc='outside lower center', ncols=4, fontsize=7
            )
    return path


def pixels(image: str | Tensor) -> np.ndarray:
    """The pixels, (H, W, 3), RGB, of a file or of what a pipeline left."""
    if isinstance(image, str):
        return mmcv.imread(image, channel_order='rgb')
    return image.permute(1, 2, 0).cpu().numpy().astype(np.uint8)


def file_name(image: str | Tensor) -> str:
    """What a title calls an image."""
    return short(Path(image).name, 28) if isinstance(image, str) else ''


def short(name: str, most: int = LETTERS) -> str:
    """A name as long as there is room."""
    return name if len(name) <= most else f'{name[: most - 1]}…'
