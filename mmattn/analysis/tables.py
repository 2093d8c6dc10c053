"""Measured parameters and multiply-adds beside the papers' figures."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from mmattn.analysis.complexity import Complexity, measure
from mmattn.engine.prepare import prepare
from mmattn.experiments import Experiment, find_experiments, load_tables

UNITS = {'M': 1e6, 'G': 1e9}
# Columns of what mmengine's counter leaves out.
LEFT_OUT = ('attention products', 'elementwise operations')


@dataclass
class Row:
    """One measured row of a table, with the paper's figures where it has them."""

    name: str
    measured: Complexity
    paper: dict[str, float | None]
    note: str = ''


def measure_table(name: str, track: Callable[[list], Iterable] = iter) -> list[Row]:
    """Measure every row of a table of experiments.yml.

    Args:
        name: 'scsa-2', 'scsa-3', ...
        track: Wraps the list of rows to show progress.

    Raises:
        UnknownName: If there is no such table.
    """
    return [_measure_row(experiment) for experiment in track(find_experiments(table=name))]


def _measure_row(experiment: Experiment) -> Row:
    options = experiment.cfg_options()
    cfg, _ = prepare(experiment.config, options)
    return Row(experiment.name, measure(cfg), dict(experiment.paper), experiment.note)


def render(rows: list[Row], columns: dict[str, str], form: str, note: str = '') -> str:
    """The rows as a table, and the notes that explain what differs.

    Args:
        rows: From :func:`measure_table`.
        columns: Units of the paper's columns; 'params' and 'flops' are used.
        form: 'text', 'csv' or 'markdown'.
        note: What holds for all rows.
    """
    params, flops = columns.get('params', 'M'), columns.get('flops', 'G')
    header = [
        'row',
        *(f'{word} ({params})' for word in ('params', 'paper', 'diff')),
        *(f'{word} ({flops})' for word in ('multiply-adds', 'paper', 'diff', *LEFT_OUT)),
    ]
    lines = [_cells(row, params, flops) for row in rows]
    return _format(header, lines, [note, *(row.note for row in rows)], form)


def render_parts(measured: Complexity, form: str) -> str:
    """A model part by part."""
    height, width = measured.size
    lines = [
        [name, f'{params / 1e6:.3f}', f'{flops / 1e9:.3f}', '', '']
        for name, (params, flops) in measured.parts.items()
    ]
    left_out = (measured.left_out_products, measured.left_out_elementwise)
    lines.append(
        [
            f'all, {height} x {width}',
            f'{measured.params / 1e6:.3f}',
            f'{measured.flops / 1e9:.3f}',
            *(f'{value / 1e9:.3f}' for value in left_out),
        ]
    )
    notes = [f'of the parameters {measured.attention_params:,} are the attention.']
    if measured.auxiliary_params:
        notes.append(
            f'the auxiliary head, which only trains, has {measured.auxiliary_params:,} more.'
        )
    header = ['part', 'params (M)', 'multiply-adds (G)', *(f'{word} (G)' for word in LEFT_OUT)]
    return _format(header, lines, notes, form)


def _cells(row: Row, params: str, flops: str) -> list[str]:
    cells = [row.name]
    for key, value, unit in (
        ('params', row.measured.params, params),
        ('flops', row.measured.flops, flops),
    ):
        measured = value / UNITS[unit]
        paper = row.paper.get(key)
        if paper is None:
            cells += [f'{measured:.3f}', '-', '-']
        else:
            cells += [f'{measured:.3f}', f'{paper:g}', f'{measured - paper:+.3f}']
    left_out = (row.measured.left_out_products, row.measured.left_out_elementwise)
    return cells + [f'{value / UNITS[flops]:.3f}' for value in left_out]


def _format(header: list[str], lines: list[list[str]], notes: list[str], form: str) -> str:
    if form == 'csv':
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator='\n').writerows([header, *lines])
        return buffer.getvalue()
    notes = [f'- {note}' for note in dict.fromkeys(notes) if note]
    notes.append(f'- mmengine leaves out: {", ".join(LEFT_OUT)}; they are not in multiply-adds.')
    if form == 'markdown':
        return markdown_table(header, lines) + '\n' + '\n'.join(notes) + '\n'
    table = Table(box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        name = name.replace(' ', '\n')
        table.add_column(name, justify='right' if index else 'left', no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    text = '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())
    return '\n'.join([text.rstrip('\n'), '', *notes]) + '\n'


def markdown_table(header: list[str], lines: list[list[str]], left: int = 1) -> str:
    """A Markdown table whose first ``left`` columns are text, the others figures."""
    ruler = ['---'] * left + ['---:'] * (len(header) - left)
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in (header, ruler, *lines))


def columns_of(name: str) -> dict[str, str]:
    """Column -> unit of a table."""
    return load_tables()[name]['columns']


def note_of(name: str) -> str:
    """What sets our sizes apart from those of a table; '' if nothing does."""
    return load_tables()[name].get('note', '')
