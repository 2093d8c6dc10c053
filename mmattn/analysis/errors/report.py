"""Errors of a model beside a baseline's: tables to read, errors.json, pictures."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from mmattn.analysis.errors.base import Errors, Table
from mmattn.analysis.errors.run import count_errors
from mmattn.experiments.listing import table_of_figures
from mmattn.utils.errors import UserError
from mmattn.utils.files import write_whole

FILE = 'errors.json'
PRINTED = 40  # rows of a table


def report(
    config: str,
    checkpoint: str,
    out: Path,
    *,
    baseline: tuple[str, str] | None = None,
    cfg_options: Sequence[str] = (),
    baseline_cfg_options: Sequence[str] = (),
    **options,
) -> None:
    """Count the errors of a checkpoint, print them and write them into a folder.

    Args:
        config, checkpoint: Of the model.
        out: Folder for errors.json, the pictures and the logs.
        baseline: Config and checkpoint of the model to compare it with, on the same data.
        cfg_options: Of the model's config.
        baseline_cfg_options: Of the baseline's.
        options: ``split``, ``score``, ``by`` and ``data_root`` of :func:`count_errors`, for both.

    Raises:
        UserError: For anything the user can mend; if the baseline has other classes or images.
    """
    errors, metrics = count_errors(
        config, checkpoint, out / 'log', cfg_options=cfg_options, **options
    )
    # Before the baseline has run: it may be that there is nothing to compare.
    tables = errors.tables()
    other, others = None, None
    content = dict(config=config, checkpoint=checkpoint, **content_of(errors, metrics, tables))
    if baseline:
        other, metrics = count_errors(
            *baseline, out / 'log_baseline', cfg_options=baseline_cfg_options, **options
        )
        require_same(errors, other)
        others = other.tables()
        names = dict(zip(('config', 'checkpoint'), baseline, strict=True))
        content['baseline'] = {**names, **content_of(other, metrics, others)}
    write_whole(out / FILE, json.dumps(content, indent=1, default=float, allow_nan=False) + '\n')
    pictures = errors.draw(out, other)
    print_tables(tables, others)
    for path in (out / FILE, *pictures):
        print(f'written: {path}')


def require_same(errors: Errors, baseline: Errors) -> None:
    """Raise UserError unless two models have been judged by the same data."""
    for what, mine, its in (
        ('classes', errors.classes, baseline.classes),
        ('images', [errors.number], [baseline.number]),
    ):
        if mine != its:
            raise UserError(
                f'the baseline was judged by other {what}, so nothing can be compared: '
                f'{_few(its)} instead of {_few(mine)}.'
            )


def print_tables(tables: Sequence[Table], baseline: Sequence[Table] | None = None) -> None:
    """Print tables, the figures of a baseline beside them; of many rows the lowest."""
    # In a pipe nothing is cut off.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
    for table, other in zip(tables, baseline or [None] * len(tables), strict=True):
        header, lines = list(table.columns), {name: [] for name in table.rows}
        for name, figures in table.rows.items():
            for index, figure in enumerate(figures):
                lines[name].append(_shown(figure, table.digits))
                if other and index >= table.of_data:
                    its = other.rows.get(name)
                    lines[name].append(_shown(its[index] if its else math.nan, table.digits))
        if other:
            given = table.of_data + 1
            paired = [each for name in table.columns[given:] for each in (name, 'baseline')]
            header = [*table.columns[:given], *paired]
        shown, notes = _printed(table)
        console.print()
        console.print(table.title, style='bold', markup=False, highlight=False)
        console.print(table_of_figures(header, [[escape(name), *lines[name]] for name in shown]))
        for note in notes:
            console.print(f'- {note}')


def _printed(table: Table) -> tuple[list[str], list[str]]:
    """Names of the rows to print, and what to say of the others."""
    names = list(table.rows)
    if table.most:
        return names[: table.most], []
    # The last row is that of all of them.
    figures = {name: table.rows[name][table.of_data] for name in names[:-1]}
    shown = [name for name in figures if not math.isnan(figures[name])]
    notes = []
    if len(shown) < len(figures):
        notes.append(f'{len(figures) - len(shown)} do not occur')
    if len(shown) > PRINTED:
        notes.append(f'the {PRINTED} lowest of {len(shown)}; all of them are in {FILE}')
        shown = sorted(shown, key=figures.get)[:PRINTED]
    return [*shown, names[-1]], notes


def content_of(errors: Errors, metrics: dict[str, float], tables: Sequence[Table]) -> dict:
    """What is written of a model; figures that there are none of become null."""
    return dict(
        images=errors.number,
        metrics={name: _plain(value) for name, value in metrics.items()},
        tables={
            table.name: [
                dict(zip(table.columns, (name, *map(_plain, figures)), strict=True))
                for name, figures in list(table.rows.items())[: table.most]
            ]
            for table in tables
        },
        confusion=dict(labels=errors.labels, matrix=errors.matrix.tolist()),
        worst=errors.worst,
    )


def _plain(figure: float) -> float | None:
    return None if isinstance(figure, float) and math.isnan(figure) else figure


def _shown(figure: float, digits: int) -> str:
    if isinstance(figure, int):
        return f'{figure}'
    return '-' if math.isnan(figure) else f'{figure:.{digits}f}'


def _few(values: Sequence[object], most: int = 5) -> str:
    words = [*map(str, values[:most]), *(['...'] if len(values) > most else [])]
    return f'{", ".join(words)} ({len(values)})' if len(values) > 1 else ', '.join(words)
