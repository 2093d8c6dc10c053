"""How objects and detections are drawn on an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmattn.analysis.errors.boxes import Pairs
from mmattn.analysis.errors.pictures import pixels, short
from mmattn.analysis.plots import COLOURS

NAMED = 8  # wrong detections of an image
# What is drawn: colour, width of the line in points, its style.
LINES = {
    'object, found': (COLOURS[2], 1.0, '-'),
    'object, missed': (COLOURS[3], 1.8, '-'),
    'detection, right': (COLOURS[5], 0.8, '--'),
    'detection, wrong': (COLOURS[6], 1.0, '--'),
}


def draw_objects(pairs: Pairs, classes: Sequence[str], ax: Any) -> None:
    """Draw an image with its objects and sure detections; of what is wrong the surest are named."""
    image = pairs.image
    shown = pixels(image.path)
    ax.imshow(shown)
    named = pairs.which[~pairs.right][:NAMED]
    for index, right in zip(pairs.which[::-1], pairs.right[::-1], strict=True):
        box, name = image.found[index], ''
        if index in named:
            name = f'{short(classes[image.found_labels[index]])} {image.scores[index]:.2f}'
        line = 'detection, right' if right else 'detection, wrong'
        _outline(ax, box, line, name, box[3])
    # On top of the detections.
    for box, label, missed in zip(pairs.boxes, pairs.labels, pairs.missed, strict=True):
        name = short(classes[label]) if missed else ''
        line = 'object, missed' if missed else 'object, found'
        _outline(ax, box, line, name, box[1])
    ax.set(xlim=(-0.5, shown.shape[1] - 0.5), ylim=(shown.shape[0] - 0.5, -0.5))


def _outline(ax: Any, box: np.ndarray, line: str, text: str, y: float) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    colour, width, style = LINES[line]
    dark = [Stroke(linewidth=width + 0.7, foreground='black', alpha=0.5), Normal()]
    ax.add_patch(
        Rectangle(
            box[:2],
            *(box[2:] - box[:2]),
            fill=False,
            edgecolor=colour,
            linewidth=width,
            linestyle=style,
            path_effects=dark,
        )
    )
    if text:
        ax.text(
            box[0],
            y,
            text,
            fontsize=4.5,
            va='top',
            color='black',
            clip_on=True,
            bbox=dict(facecolor=colour, pad=0.4, linewidth=0),
        )


def legend() -> dict[str, Any]:
    """Name -> line of all that is drawn."""
    from matplotlib.lines import Line2D

    return {
        name: Line2D([], [], color=colour, linewidth=width, linestyle=style)
        for name, (colour, width, style) in LINES.items()
    }
