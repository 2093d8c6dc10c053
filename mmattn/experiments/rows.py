"""Reads experiments.yml: one :class:`Experiment` per row of a table."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mmattn.utils.errors import InvalidValue, UnknownName

SOURCE = Path(__file__).with_name('experiments.yml')
PLAIN = 'none'


@dataclass(frozen=True)
class Experiment:
    """One row of a table of a paper, with one of its seeds."""

    table: str  # such as 'scsa-3'
    config: str  # stem of the file in configs/
    row: str  # an attention, 'none', or the name of a variant
    attention: str | None
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what --cfg-options has to say
    paper: Mapping[str, float | None] = field(default_factory=dict)  # column -> figure
    note: str = ''  # why a difference to the paper's size remains
    seeds: tuple[int, ...] = (0,)  # those whose mean the paper's figures are
    seed: int = 0

    @property
    def name(self) -> str:
        """Unique within the table, and fit for a folder: 'resnet50_eca_in1k'."""
        slug = re.sub(r'[^a-z0-9]+', '_', self.row.lower()).strip('_')
        if '_scsa' in self.config:
            return self.config.replace('_scsa', f'_{slug}', 1)
        return self.config if self.row == PLAIN else f'{self.config}_{slug}'

    @property
    def run_name(self) -> str:
        """Unique among the runs of a table; seed 0 has the name of the row."""
        return f'{self.name}_seed{self.seed}' if self.seed else self.name

    @property
    def work_dir(self) -> str:
        """Where the run keeps its files."""
        return f'work_dirs/{self.table}/{self.run_name}'

    def runs(self, seeds: Sequence[int] = ()) -> list['Experiment']:
        """The row once for each seed; the paper's seeds unless others are given."""
        return [replace(self, seed=seed) for seed in seeds or self.seeds]

    def cfg_options(self) -> list[str]:
        """The overrides as words of a command line."""
        return [f'{key}={value}' for key, value in self.overrides.items()]

    def arguments(self) -> list[str]:
        """What follows ``tools/train.py`` on the command line."""
        words = [f'configs/{self.config}.py', '--work-dir', self.work_dir, '--seed', str(self.seed)]
        return words + (['--cfg-options', *self.cfg_options()] if self.overrides else [])

    def command(self) -> str:
        """The command of the run, as it is typed in the project's folder."""
        return shlex.join(['python', 'tools/train.py', *self.arguments()])


@cache
def load_tables() -> dict[str, dict]:
    """The tables of experiments.yml: title, source, columns, metrics, experiments.

    Raises:
        ValueError: If a row has another number of figures than the table has columns.
    """
    tables = {}
    for name, table in yaml.safe_load(SOURCE.read_text(encoding='utf-8')).items():
        experiments = [
            _experiment(name, config, str(row), entry, table)
            for config, rows in table.pop('configs').items()
            for row, entry in rows.items()
        ]
        tables[name] = {**table, 'experiments': experiments}
    return tables


def _experiment(name: str, config: str, row: str, entry: Any, table: dict) -> Experiment:
    entry = {'paper': entry} if isinstance(entry, list) else entry
    figures, columns = entry['paper'], table['columns']
    if len(figures) != len(columns):
        raise ValueError(
            f'{name} {config} {row!r}: {len(figures)} figures for the {len(columns)} columns '
            f'{", ".join(columns)}'
        )
    attention = entry.get('attention', None if row == PLAIN else row)
    key, overrides = 'model.backbone.attention', {}
    if not entry.get('as_is'):
        overrides = {key: None} if attention is None else {f'{key}.type': attention}
    overrides.update({f'{key}.{k}': v for k, v in entry.get('options', {}).items()})
    overrides.update(entry.get('cfg_options', {}))
    paper = dict(zip(columns, figures, strict=True))
    note, seeds = entry.get('note', ''), tuple(table.get('seeds', [0]))
    return Experiment(name, config, row, attention, overrides, paper, note, seeds)


def find_experiments(
    table: str | None = None, config: str | None = None, attention: str | None = None
) -> list[Experiment]:
    """The rows of a table, of the configs whose name contains ``config``, of an attention.

    Raises:
        UnknownName: If there is no such table; the valid ones are named.
        InvalidValue: If no row fits.
    """
    tables = load_tables()
    if table is not None and table not in tables:
        raise UnknownName(f'unknown table {table!r}; valid: {", ".join(tables)}')
    found = [
        experiment
        for name, entry in tables.items()
        if table in (None, name)
        for experiment in entry['experiments']
        if (config is None or config in experiment.config)
        and (attention is None or attention == (experiment.attention or PLAIN))
    ]
    if not found:
        raise InvalidValue(
            f'no row has table={table!r}, config={config!r} and attention={attention!r}; '
            "'python -m mmattn experiments' lists all"
        )
    return found
