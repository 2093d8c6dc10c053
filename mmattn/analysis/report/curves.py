"""Curves of all runs, overlaid: losses and learning rate by iteration, metrics by validation."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mmattn.analysis.plots import COLOURS

DASHES = ('solid', 'dash', 'dot', 'dashdot')
# More points than pixels only make the page large.
MOST_POINTS = 2000
# What a line of the log holds besides losses and metrics.
NO_CURVE = {'epoch', 'iter', 'step', 'time', 'data_time', 'memory', 'grad_norm', 'base_lr'}
LAYOUT = {
    'template': 'plotly_white',
    'height': 350,
    'margin': {'l': 60, 'r': 20, 't': 40, 'b': 50},
    'legend': {'orientation': 'h', 'y': -0.25},
    'hovermode': 'x unified',
}


def figures(runs: Sequence[Any]) -> dict[str, dict]:
    """Title -> plotly figure, one for every scalar that a run has logged more than once.

    Args:
        runs: Each with ``name`` and ``scalars``, the logged dicts in order.
    """
    names = dict.fromkeys(
        name
        for run in runs
        for entry in run.scalars
        for name, value in entry.items()
        if name not in NO_CURVE and isinstance(value, int | float)
    )
    found = {}
    for name in sorted(names, key=_order):
        data = [line for i, run in enumerate(runs) if (line := _line(run, name, i))]
        if any(len(line['x']) > 1 for line in data):
            title = {'text': name, 'font': {'size': 15}}
            axes = {
                'xaxis': {'title': {'text': 'iteration'}},
                'yaxis': {'title': {'text': name}, 'exponentformat': 'e'},
            }
            found[name] = {'data': data, 'layout': {**LAYOUT, **axes, 'title': title}}
    return found


def _order(name: str) -> tuple:
    """Metrics, then the whole loss, then its parts and the learning rate."""
    is_metric = 'loss' not in name and name not in ('lr', 'acc')
    return not is_metric, name != 'loss', 'loss' not in name, name


def _line(run: Any, name: str, number: int) -> dict | None:
    points = [
        (step, entry[name])
        for step, entry in iterations(run.scalars)
        if isinstance(entry.get(name), int | float) and math.isfinite(entry[name])
    ]
    if not points:
        return None
    points = _thinned(points)
    style = {
        'color': COLOURS[number % len(COLOURS)],
        'dash': DASHES[number // len(COLOURS) % len(DASHES)],
    }
    return {
        'type': 'scatter',
        'mode': 'lines+markers' if len(points) < 30 else 'lines',
        'name': run.name,
        'x': [x for x, _ in points],
        'y': [y for _, y in points],
        'line': style,
    }


def iterations(scalars: Iterable[dict]) -> list[tuple[int, dict]]:
    """Each entry with the iteration it was written after.

    A validation's ``step`` counts epochs where training does: it takes the last iteration.
    """
    found, last = [], 0
    for entry in scalars:
        last = entry['step'] if 'lr' in entry or 'loss' in entry else last
        found.append((last or entry.get('step', 0), entry))
    return found


def _thinned(points: list[tuple]) -> list[tuple]:
    """Means over as many neighbours as needed; each still stands at its last iteration."""
    width = -(-len(points) // MOST_POINTS)
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
