"""Comparing groups of runs with a baseline: over seeds, over images, by what they cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from mmattn.analysis.complexity import Complexity, measure
from mmattn.analysis.groups import Group
from mmattn.analysis.runs import Run
from mmattn.analysis.statistics import Difference, holm, paired, unpaired
from mmattn.engine.prepare import prepare
from mmattn.experiments.rows import PLAIN
from mmattn.utils.errors import UnknownName, UserError


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


def compare(
    groups: Sequence[Group], baseline: str | None = None
) -> tuple[list[Comparison], list[str]]:
    """Compare every group with the baseline of its data set, Holm-corrected over all of them.

    Pairs are runs with the same seed; where groups share fewer than two, Welch's test.

    Args:
        groups: Of :func:`mmattn.analysis.groups.collect`.
        baseline: Name of a group, its attention or its config; default 'none', the groups
            without attention. Of several the one with the group's own config.

    Returns:
        The comparisons, and what the reader has to know.

    Raises:
        UnknownName: If no group has this name.
    """
    wanted = PLAIN if baseline is None else baseline
    fitting = [one for one in groups if _is_called(one, wanted, groups)]
    if baseline is not None and not fitting:
        names = dict.fromkeys(group.name for group in groups)
        raise UnknownName(f'--baseline {baseline!r} is no group; valid: {", ".join(names)}')
    comparisons: list[Comparison] = []
    reasons: dict[str, list[str]] = {}  # what cannot be computed -> groups
    for group in groups:
        if group in fitting:
            continue
        here = [one for one in fitting if one.data == group.data]
        own = [one for one in here if one.config == group.config] or here
        if len(own) == 1:
            one = Comparison(group, own[0], *_differences(group, own[0]))
            comparisons.append(one)
            whys = [why for part in (one.difference, one.images) if part for why in part.why]
        else:
            which = ' and '.join(one.name for one in own) or f'no group is {wanted!r}'
            whys = [f'not compared, there is not one baseline: {which}; --baseline NAME chooses']
        for why in whys:
            reasons.setdefault(why, []).append(f'{group.name} ({group.data})')
    corrected = holm([one.difference.p for one in comparisons])
    pairs = zip(comparisons, corrected, strict=True)
    compared = len(groups) - len(fitting)
    notes = [
        f'{"all" if len(names) == compared > 1 else ", ".join(names)}: {why}.'
        for why, names in reasons.items()
    ]
    return [replace(one, p_holm=p) for one, p in pairs], notes


def _is_called(group: Group, name: str, groups: Sequence[Group]) -> bool:
    """Whether a group's name, attention or config is ``name``; of a config the plain network."""
    if name in (group.name, group.attention):
        return True
    alike = [one for one in groups if (one.data, one.config) == (group.data, group.config)]
    return name == group.config and (group.attention == PLAIN or len(alike) == 1)


def _differences(group: Group, baseline: Group) -> tuple[Difference, Difference | None]:
    shared = sorted(set(group.by_seed) & set(baseline.by_seed))
    fewest = min(len(group.runs), len(baseline.runs))
    if len(shared) >= min(2, fewest):
        runs = [[one.by_seed[seed] for seed in shared] for one in (group, baseline)]
        over_seeds = paired(*([group.metric.of(run) for run in part] for part in runs))
        lonely = len(group.runs) + len(baseline.runs) - 2 * len(shared)
        if lonely:
            why = f'{lonely} runs have no partner of the same seed and are in no pair'
            over_seeds = replace(over_seeds, why=(*over_seeds.why, why))
    else:
        runs = [group.runs, baseline.runs]
        over_seeds = unpaired(group.scores, baseline.scores)
        why = f'unpaired, as {len(shared)} seeds are shared'
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
    return replace(
        result,
        why=(f'{lonely} images are left out, as not all runs have their score',) if lonely else (),
    )


def complexities(
    groups: Sequence[Group], track: Callable[[Sequence[Group]], Iterable[Group]] = iter
) -> tuple[dict[Group, Complexity], list[str]]:
    """Parameters and multiply-adds of each group, from the config that its runs kept.

    Returns:
        What could be measured, and a line for each group that could not.
    """
    measured, unknown = {}, {}
    for group in track(groups):
        path = next((run.config_file for run in group.runs if run.config_file), None)
        try:
            if path is None:
                raise UserError('its runs kept no config')
            measured[group] = measure(prepare(str(path))[0])
        except UserError as error:
            unknown.setdefault(str(error).rstrip('.'), []).append(f'{group.name} ({group.data})')
    notes = [f'{", ".join(names)}: size not known: {why}.' for why, names in unknown.items()]
    return measured, notes
