"""Runs put into groups that differ in nothing but their seeds."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmattn.analysis.runs import DATA_NAMES, Run
from mmattn.datasets.guides import guides
from mmattn.experiments.rows import PLAIN
from mmattn.utils.errors import UnknownName, UserError

ERROR = '100 - '
LOWER_IS_BETTER = re.compile(r'error|loss|mae|mse', re.IGNORECASE)
PER_CENT = re.compile(r'100 - |AP|AR|IoU|Acc|accuracy|top\d|precision|recall|score|Dice')
# More settings that differ than this are in a note, not in a group's name.
FEW = 3


@dataclass(frozen=True)
class Metric:
    """What runs are compared by: a metric's name, or ``100 - NAME``, the error in per cent."""

    name: str

    @property
    def lower_is_better(self) -> bool:
        return self.name.startswith(ERROR) or bool(LOWER_IS_BETTER.search(self.name))

    @property
    def unit(self) -> str:
        """For an axis: '%, ' where that is known."""
        return '%, ' if PER_CENT.search(self.name) else ''

    def of(self, run: Run) -> float:
        """A finished run's score; average precision and recall in per cent.

        Raises:
            UnknownName: If the run has no such metric, or COCO's -1, which says that there was
                nothing to evaluate; names those there are.
        """
        name = self.name.removeprefix(ERROR)
        defined = {}
        for key, value in run.metrics.items():
            # mmdet's averages are shares, mmseg's and mmpretrain's are per cent already.
            share = '(mmdet)' in run.task and re.search('AP|AR', key)
            if value == value and not (share and value < 0):
                defined[key] = value * 100 if share else value
        for key, value in defined.items():
            if name in (key, key.rsplit('/', 1)[-1]):
                return 100 - value if self.name.startswith(ERROR) else value
        there = ', '.join(defined) or 'none'
        raise UnknownName(f'no metric {name!r}; there is {there}.')


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but their seeds."""

    data: str
    name: str  # unique within the data set: the attention, and what else sets it apart
    config: str  # stem
    attention: str
    metric: Metric
    runs: tuple[Run, ...]

    @property
    def scores(self) -> list[float]:
        return [self.metric.of(run) for run in self.runs]

    @property
    def by_seed(self) -> dict[int, Run]:
        return {run.seed: run for run in self.runs if run.seed is not None}


def collect(runs: Iterable[Run], metric: str | None = None) -> tuple[list[Group], list[str]]:
    """Put runs into groups.

    Args:
        runs: As :func:`mmattn.analysis.runs.read_runs` gives them.
        metric: Name, with or without the evaluator's prefix, or '100 - NAME'; default the one
            that the runs of a data set choose their best checkpoint by.

    Returns:
        The groups by data set, plain networks first, and a line for each run that is in none.

    Raises:
        UserError: If no run is left; says why.
    """
    runs, groups, notes, by_data = list(runs), [], [], {}
    reasons: dict[str, list[str]] = {}  # why -> runs
    for run in runs:
        if run.finished:
            by_data.setdefault(run.data, []).append(run)
        else:
            reasons.setdefault('not finished', []).append(run.name)
    for data, members in sorted(by_data.items()):
        chosen = Metric(metric or _usual_metric(members))
        usable = []
        for run in members:
            try:
                chosen.of(run)
                usable.append(run)
            except UnknownName as error:
                reasons.setdefault(str(error).rstrip('.'), []).append(run.name)
        found, more = _grouped(data, chosen, usable)
        groups += found
        notes += more
    notes = [f'left out, {why}: {", ".join(names)}.' for why, names in reasons.items()] + notes
    if not groups:
        raise UserError('\n'.join(['there is no run to compare.', *notes]))
    left_out = len(runs) - sum(len(group.runs) for group in groups)
    return groups, [f'{left_out} of {len(runs)} runs are left out.'] * bool(left_out) + notes


def _usual_metric(runs: Sequence[Run]) -> str:
    names = [run.summary.get('best_metric') for run in runs]
    names += [name for run in runs for name in run.metrics]
    return next(filter(None, names), '')


def _grouped(data: str, metric: Metric, runs: list[Run]) -> tuple[list[Group], list[str]]:
    """The groups of one data set."""
    sorted_runs = sorted(runs, key=lambda run: (run.stem, run.attention != PLAIN, run.attention))
    kinds: dict[tuple[str, str], list[Run]] = {}
    for run in sorted_runs:
        kinds.setdefault((run.stem, run.attention), []).append(run)
    several = len({stem for stem, _ in kinds}) > 1
    groups, notes = [], []
    for (stem, attention), members in kinds.items():
        name = f'{_without_data(stem)} {attention}' if several else attention
        variants, more = _variants(name, members)
        notes += more
        for shown, same in variants.items():
            kept, more = _one_of_a_seed(shown, same)
            notes += more
            groups.append(Group(data, shown, stem, attention, metric, tuple(kept)))
    return groups, notes


def _without_data(stem: str) -> str:
    """A config's name without its data set: the same for all data sets."""
    known = {*guides(), *DATA_NAMES}
    return '_'.join(word for word in stem.split('_') if word not in known) or stem


def _variants(name: str, runs: list[Run]) -> tuple[dict[str, list[Run]], list[str]]:
    """Runs of one config and attention by the settings in which they differ."""
    by_settings: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps(run.settings, sort_keys=True, default=str)
        by_settings.setdefault(key, []).append(run)
    parts = list(by_settings.values())
    if len(parts) == 1:
        return {name: runs}, []
    every = [part[0].settings for part in parts]
    keys = [
        key
        for key in dict.fromkeys(key for settings in every for key in settings)
        if any(settings.get(key) != every[0].get(key) for settings in every)
    ]
    if len(keys) <= FEW:
        return {_with_settings(name, part[0].settings, keys): part for part in parts}, []
    named = {f'{name}, settings {number}': part for number, part in enumerate(parts, 1)}
    shown = f'{", ".join(keys[:20])}{" ..." * (len(keys) > 20)}'
    return named, [f'{name}: settings 1 to {len(parts)} differ in {shown}.']


def _with_settings(name: str, settings: dict[str, object], keys: list[str]) -> str:
    own = [
        f'{key.removeprefix("model.backbone.").removeprefix("attention.")}={settings[key]}'
        for key in keys
        if key in settings
    ]
    return ', '.join([name, *own])


def _one_of_a_seed(name: str, runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Of several runs with one seed the one that started last; the others are named."""
    kept: dict[object, Run] = {}
    notes = []
    for run in sorted(runs, key=lambda run: run.started):
        # Without a seed each stands for itself.
        key = run.name if run.seed is None else run.seed
        if key in kept:
            notes.append(
                f'left out: {kept[key].name}, as {run.name} has the same seed ({run.seed}) in '
                f'{name} and started later.'
            )
        kept[key] = run
    without = sum(run.seed is None for run in runs)
    if without:
        notes.append(f'{name}: {without} runs whose seed is not known cannot be paired.')
    return sorted(kept.values(), key=lambda run: (run.seed is None, run.seed or 0)), notes
