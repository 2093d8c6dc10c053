"""How all figures look: sizes of a paper's columns, colours that everybody can tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.utils.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's, in the order of the lines; 'cividis' and 'RdBu_r' for images.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#D55E00', '#CC79A7', '#56B4E9', '#F0E442', '#000000')
COLUMN, PAGE = 3.5, 7.2  # widths in inches


@contextmanager
def figure(path: Path, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple]:
    """A figure and its axes, a (rows, columns) array, saved to ``path`` at the end.

    Args:
        options: Of ``matplotlib.pyplot.subplots``; default ``figsize`` a column's width.
    """
    import matplotlib

    matplotlib.use('Agg')  # no window
    from cycler import cycler
    from matplotlib import pyplot as plt

    options.setdefault('figsize', (COLUMN, COLUMN * 0.75))
    style = {
        'font.size': 8,
        'axes.prop_cycle': cycler(color=COLOURS),
        'axes.spines.top': False,
        'axes.spines.right': False,
        'legend.frameon': False,
        'savefig.dpi': 200,
    }
    with plt.rc_context(style):
        drawn, axes = plt.subplots(rows, columns, squeeze=False, layout='constrained', **options)
        try:
            yield drawn, axes
            save(drawn, path)
        finally:
            plt.close(drawn)


def save(drawn: 'Figure', path: Path) -> None:
    """Write a figure whole, in the format that the name of ``path`` ends with."""
    content = BytesIO()
    drawn.savefig(content, format=path.suffix.lstrip('.') or 'png')
    write_whole(path, content.getvalue())
