"""Comparing runs: by data set, config and attention, over seeds, against a baseline."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mmattn.analysis.complexity import Complexity, measure
from mmattn.analysis.runs import DATA_NAMES, Run
from mmattn.analysis.statistics import Difference, holm, paired, unpaired
from mmattn.datasets.guides import guides
from mmattn.engine.prepare import prepare
from mmattn.experiments.rows import PLAIN
from mmattn.utils.errors import UnknownName, UserError, did_you_mean

ERROR = '100 - '
LOWER_IS_BETTER = re.compile(r'error|loss|mae|mse', re.IGNORECASE)
# More settings that differ than this are in a note, not in a group's name.
FEW = 3


@dataclass(frozen=True)
class Metric:
    """What runs are compared by: a metric's name, or ``100 - NAME``, the error in per cent."""

    name: str

    @property
    def lower_is_better(self) -> bool:
        return self.name.startswith(ERROR) or bool(LOWER_IS_BETTER.search(self.name))

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
        raise UnknownName(f'no metric {name!r}; there is {there}.{did_you_mean(name, defined)}')


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


@dataclass(frozen=True)
class Comparison:
    """A group against its baseline."""

    group: Group
    baseline: Group
    difference: Difference  # over seeds
    images: Difference | None = None  # over images, where the runs have their scores
    p_holm: float | None = None

    @property
    def improvement(self) -> float:
        """Of the metric, in its unit; negative if the group is worse."""
        sign = -1 if self.group.metric.lower_is_better else 1
        return sign * self.difference.mean

    def per_unit(self, extra: float) -> float | None:
        """Error-drop efficiency: what is added per 1 % of error that it takes away.

        Args:
            extra: Parameters or multiply-adds that the group has beyond the baseline.

        Returns:
            Delta P / Delta E (SE-Res2Net report, section 6); None without an improvement.
        """
        return extra / self.improvement if self.improvement > 0 else None


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
    groups, notes, by_data = [], [], {}
    for run in runs:
        if run.finished:
            by_data.setdefault(run.data, []).append(run)
        else:
            notes.append(f'left out: {run.name}, which is not finished')
    for data, members in sorted(by_data.items()):
        chosen = Metric(metric or _usual_metric(members))
        usable = []
        for run in members:
            try:
                chosen.of(run)
                usable.append(run)
            except UnknownName as error:
                notes.append(f'left out: {run.name} has {error}')
        found, more = _grouped(data, chosen, usable)
        groups += found
        notes += more
    if not groups:
        raise UserError('\n'.join(['there is no run to compare.', *notes]))
    return groups, notes


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
    return named, [f'{name}: settings 1 to {len(parts)} differ in {shown}']


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
                f'{name} and started later'
            )
        kept[key] = run
    without = sum(run.seed is None for run in runs)
    if without:
        notes.append(f'{name}: {without} runs whose seed is not known cannot be paired')
    return sorted(kept.values(), key=lambda run: (run.seed is None, run.seed or 0)), notes


def compare(
    groups: Sequence[Group], baseline: str | None = None
) -> tuple[list[Comparison], list[str]]:
    """Compare every group with the baseline of its data set, Holm-corrected over all of them.

    Pairs are runs with the same seed; where groups share fewer than two, Welch's test.

    Args:
        groups: Of :func:`collect`.
        baseline: Name of a group, its attention or its config; default 'none', the groups
            without attention. Of several the one with the group's own config.

    Returns:
        The comparisons, and what the reader has to know.

    Raises:
        UnknownName: If no group has this name.
    """
    wanted = PLAIN if baseline is None else baseline
    fitting = [one for one in groups if wanted in (one.name, one.attention, one.config)]
    if baseline is not None and not fitting:
        names = dict.fromkeys(group.name for group in groups)
        raise UnknownName(f'--baseline {baseline!r} is no group; valid: {", ".join(names)}')
    comparisons, notes = [], []
    for group in groups:
        if group in fitting:
            continue
        here = [one for one in fitting if one.data == group.data]
        own = [one for one in here if one.config == group.config] or here
        if len(own) != 1:
            between = ', '.join(one.name for one in own) or 'none'
            notes.append(
                f'{group.data}, {group.name}: no comparison, as there is not one baseline '
                f'({wanted}) but {between}; --baseline NAME chooses'
            )
            continue
        comparison = Comparison(group, own[0], *_differences(group, own[0]))
        comparisons.append(comparison)
        notes += [f'{group.name}: {why}' for why in comparison.difference.why]
    corrected = holm([one.difference.p for one in comparisons])
    pairs = zip(comparisons, corrected, strict=True)
    return [replace(one, p_holm=p) for one, p in pairs], notes


def _differences(group: Group, baseline: Group) -> tuple[Difference, Difference | None]:
    shared = sorted(set(group.by_seed) & set(baseline.by_seed))
    fewest = min(len(group.runs), len(baseline.runs))
    if len(shared) >= min(2, fewest):
        runs = [[one.by_seed[seed] for seed in shared] for one in (group, baseline)]
        over_seeds = paired(*([group.metric.of(run) for run in part] for part in runs))
        lonely = len(group.runs) + len(baseline.runs) - 2 * len(shared)
        if lonely:
            why = f'{lonely} runs without a partner of the same seed are in no pair'
            over_seeds = replace(over_seeds, why=(*over_seeds.why, why))
    else:
        runs = [group.runs, baseline.runs]
        over_seeds = unpaired(group.scores, baseline.scores)
        why = f'unpaired: {len(shared)} shared seeds'
        over_seeds = replace(over_seeds, why=(*over_seeds.why, why))
    return over_seeds, _over_images(*runs)


def _over_images(runs: Sequence[Run], baseline: Sequence[Run]) -> Difference | None:
    """Images as pairs, their scores averaged over the runs; None if a side has no scores."""
    sides = [[run.per_image for run in part if run.per_image] for part in (runs, baseline)]
    if not all(sides):
        return None
    images = [set.intersection(*map(set, side)) for side in sides]
    common = sorted(images[0] & images[1])
    if not common:
        raise UserError(f'{runs[0].name} and {baseline[0].name} have scores of other images.')
    means = [[sum(one[image] for one in side) / len(side) for image in common] for side in sides]
    result = paired(*means)
    every = set().union(*(one for side in sides for one in side))
    lonely = len(every) - len(common)
    return replace(result, why=(f'{lonely} images that not all runs have',) if lonely else ())


def complexities(
    groups: Sequence[Group], track: Callable[[Sequence[Group]], Iterable[Group]] = iter
) -> tuple[dict[Group, Complexity], list[str]]:
    """Parameters and multiply-adds of each group, from the config that its runs kept.

    Returns:
        What could be measured, and a line for each group that could not.
    """
    measured, notes = {}, []
    for group in track(groups):
        path = next((run.config_file for run in group.runs if run.config_file), None)
        try:
            if path is None:
                raise UserError('its runs kept no config')
            measured[group] = measure(prepare(str(path))[0])
        except UserError as error:
            notes.append(f'{group.data}, {group.name}: size not known: {error}')
    return measured, notes
