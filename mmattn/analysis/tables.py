"""Tables of what is measured: parameters and multiply-adds beside the papers' figures, speed."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console

from mmattn.analysis.complexity import Complexity, measure
from mmattn.analysis.networks import Result
from mmattn.engine.prepare import prepare
from mmattn.experiments import Experiment, find_experiments, load_tables
from mmattn.experiments.listing import table_of_figures

UNITS = {'M': 1e6, 'G': 1e9}
# Columns of what mmengine's counter leaves out.
LEFT_OUT = ('attention products', 'elementwise operations')
NOTE_LEFT_OUT = f'mmengine leaves out: {", ".join(LEFT_OUT)}; they are not in multiply-adds.'
MIB = 2**20
NOTES_SPEED = [
    'relative: throughput to that of the first network, round by round; medians and quartiles.',
    'MiB: what a step allocates at most beyond parameters and batch; saved MiB: what of it the '
    'forward pass keeps for the backward pass.',
]


def measure_table(
    name: str, track: Callable[[list], Iterable] = iter
) -> list[tuple[Experiment, Complexity]]:
    """Measure every row of a table of experiments.yml; ``track`` may show the progress.

    Raises:
        UnknownName: If there is no such table.
    """
    return [
        (row, measure(prepare(row.config, row.cfg_options())[0]))
        for row in track(find_experiments(table=name))
    ]


def render(rows: list[tuple[Experiment, Complexity]], form: str) -> str:
    """Rows of one table as 'text', 'csv' or 'markdown', with notes on what differs."""
    table = load_tables()[rows[0][0].table]
    units = {
        key: table['columns'].get(key, usual) for key, usual in (('params', 'M'), ('flops', 'G'))
    }
    header = [
        'row',
        *(f'{word} ({units["params"]})' for word in ('params', 'paper', 'diff')),
        *(f'{word} ({units["flops"]})' for word in ('multiply-adds', 'paper', 'diff', *LEFT_OUT)),
    ]
    lines = []
    for row, measured in rows:
        lines.append([row.name])
        for key, unit in units.items():
            ours, paper = getattr(measured, key) / UNITS[unit], row.paper.get(key)
            beside = ('-', '-') if paper is None else (f'{paper:g}', f'{ours - paper:+.3f}')
            lines[-1] += [f'{ours:.3f}', *beside]
        lines[-1] += [f'{number / UNITS[units["flops"]]:.3f}' for number in measured.left_out]
    notes = [table.get('note'), *(row.note for row, _ in rows), NOTE_LEFT_OUT]
    return _format(header, lines, notes, form)


def render_parts(measured: Complexity, form: str) -> str:
    """A model part by part, as 'text', 'csv' or 'markdown'."""
    header = ['part', 'params (M)', 'multiply-adds (G)', *(f'{word} (G)' for word in LEFT_OUT)]
    lines = [
        [name, f'{params / 1e6:.3f}', f'{flops / 1e9:.3f}', '', '']
        for name, (params, flops) in measured.parts.items()
    ]
    counts = (f'{number / 1e9:.3f}' for number in (measured.flops, *measured.left_out))
    height, width = measured.size
    lines.append([f'all, {height} x {width}', f'{measured.params / 1e6:.3f}', *counts])
    notes = [f'of the parameters {measured.attention_params:,} are the attention.']
    if measured.auxiliary_params:
        number = f'{measured.auxiliary_params:,}'
        notes.append(f'the auxiliary head, which only trains, has {number} more.')
    return _format(header, lines, [*notes, NOTE_LEFT_OUT], form)


def render_speed(results: Iterable[Result], notes: list[str], form: str) -> str:
    """Networks beside the plain one, as 'text', 'csv' or 'markdown'."""
    header = [
        'network',
        'step',
        'images/s',
        'quartiles',
        'relative',
        'quartiles',
        'MiB',
        'saved MiB',
    ]
    lines = []
    for one in results:
        figures = (f'{one.images.median:.4g}', f'{one.images.low:.4g}-{one.images.high:.4g}')
        ratio = (f'{one.ratio.median:.2f}', f'{one.ratio.low:.2f}-{one.ratio.high:.2f}')
        memory = [f'{one.peak / MIB:.1f}', '-' if one.saved is None else f'{one.saved / MIB:.1f}']
        lines.append([one.name, one.step, *figures, *ratio, *memory])
    return _format(header, lines, [*notes, *NOTES_SPEED], form, left=2)


def _format(
    header: list[str], lines: list[list[str]], notes: list[str], form: str, left: int = 1
) -> str:
    if form == 'csv':
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator='\n').writerows([header, *lines])
        return buffer.getvalue()
    notes = [f'- {note}' for note in dict.fromkeys(notes) if note]
    if not lines:
        return '\n'.join([*notes, ''])
    if form == 'markdown':
        return '\n'.join([markdown_table(header, lines, left), *notes, ''])
    console = Console(file=io.StringIO(), width=1000)
    broken = [name.replace(' ', '\n') for name in header]
    console.print(table_of_figures(broken, lines, left=left))
    text = '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())
    return '\n'.join([text.rstrip('\n'), '', *notes, ''])


@dataclass(frozen=True)
class Section:
    """A table of a report; every cell is written out, '-' where there is nothing."""

    title: str
    rows: list[dict[str, str]]  # column -> cell
    notes: list[str] = field(default_factory=list)
    left: int = 1  # columns that are text


def render_sections(sections: Sequence[Section], form: str, key: int = 1) -> str:
    """Tables one below the other as 'text' or 'markdown', without columns that hold nothing.

    As 'csv' one table: rows with the same first ``key`` cells are one row.
    """
    if form == 'csv':
        merged: dict[tuple, dict[str, str]] = {}
        for section in sections:
            for row in section.rows:
                merged.setdefault(tuple(row.values())[:key], {}).update(row)
        header = list(dict.fromkeys(name for row in merged.values() for name in row))
        lines = [[row.get(name, '') for name in header] for row in merged.values()]
        return _format(header, lines, [], form)
    parts = []
    for section in (one for one in sections if one.rows or one.notes):
        names = dict.fromkeys(name for row in section.rows for name in row)
        header = [
            name
            for place, name in enumerate(names)
            if place < section.left or any(row.get(name, '-') != '-' for row in section.rows)
        ]
        lines = [[row.get(name, '-') for name in header] for row in section.rows]
        mark = '## ' if form == 'markdown' else ''
        text = _format(header, lines, section.notes, form, section.left).lstrip('\n')
        parts.append(f'{mark}{section.title}\n\n{text}')
    return '\n'.join(parts)


def markdown_table(header: list[str], lines: list[list[str]], left: int = 1) -> str:
    """A Markdown table whose first ``left`` columns are text, the others figures."""
    ruler = ['---'] * left + ['---:'] * (len(header) - left)
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in (header, ruler, *lines))
