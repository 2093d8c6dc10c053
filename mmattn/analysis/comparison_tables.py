"""The tables of a comparison of runs."""

from collections.abc import Mapping, Sequence

from mmattn.analysis.comparison import Comparison
from mmattn.analysis.complexity import Complexity
from mmattn.analysis.groups import Group
from mmattn.analysis.statistics import Difference, holm, mean_interval
from mmattn.analysis.tables import Section

ALPHA = 0.05
FEW_PAIRS = 10
NOTE_EFFECTS = (
    "Cohen's d: d_z divides the mean difference by the deviation of the differences, d_av by the "
    'mean of both deviations, d_s (unpaired) by the pooled deviation.'
)
# Coverage with normal differences, of 2,000 simulations each.
NOTE_BOOTSTRAP = (
    'over so few runs the bootstrap interval is too narrow: for normal differences it holds the '
    'true one in 75 % of cases with 3 pairs, 85 % with 5, 91 % with 10; the t interval in 95 %.'
)
NOTE_COST = (
    'per 1%: what is added for each 1 % of error taken away, in M (error-drop efficiency); - where '
    'none is taken away.'
)
NOTE_IMAGES = (
    'over images: whether these trained networks differ on other images; over seeds: whether other '
    'trainings would. The scores are those of per_image.json; higher is better.'
)


def group_section(
    groups: Sequence[Group], sizes: Mapping[Group, Complexity], notes: Sequence[str] = ()
) -> Section:
    """Mean, deviation and size of each group; ``notes`` say which runs are in none."""
    rows = []
    for group in groups:
        scores, size = group.scores, sizes.get(group)
        interval = mean_interval(scores)
        rows.append(
            {
                'data set': group.data,
                'group': group.name,
                'metric': group.metric.name,
                'runs': str(len(scores)),
                'mean': f'{sum(scores) / len(scores):.2f}',
                'deviation': f'{_deviation(scores):.2f}' if interval else '-',
                '95%': between(interval, ''),
                'params (M)': millions(size.params) if size else '-',
                'multiply-adds (M)': millions(size.flops) if size else '-',
            }
        )
    return Section('Groups', rows, list(notes), left=3)


def comparison_section(
    comparisons: Sequence[Comparison],
    sizes: Mapping[Group, Complexity],
    known: Sequence[str] = (),
) -> Section:
    """Each group against its baseline, over seeds; ``known`` says what could not be compared."""
    rows = []
    for one in comparisons:
        difference = one.difference
        pairs = f'{difference.n} pairs'
        if not difference.paired:
            pairs = f'{difference.n}, {difference.n_baseline} runs'
        rows.append(
            {
                **_named(one),
                'compared': pairs,
                **_tested(difference, one.p_holm),
                'p (Wilcoxon)': probability(difference.wilcoxon),
                **{name: effect(difference.effects.get(name)) for name in ('d_z', 'd_av', 'd_s')},
                **_cost(one, sizes),
            }
        )
    tests = sum(one.difference.p is not None for one in comparisons)
    notes = []
    if rows:
        directions = '; '.join(dict.fromkeys(map(_direction, comparisons)))
        notes.append(
            'difference: of the means, in the unit of the metric (per cent for shares); '
            f'{directions}.'
        )
    if tests:
        word = 'test' if tests == 1 else 'tests'
        notes.append(f'p (Holm): corrected for the {tests} {word} of this table. {_verdict(rows)}')
    if any(one.difference.effects for one in comparisons):
        notes.append(NOTE_EFFECTS)
    if any(one.difference.bootstrap and one.difference.n < FEW_PAIRS for one in comparisons):
        notes.append(NOTE_BOOTSTRAP)
    if sizes and rows:
        notes.append(NOTE_COST)
    return Section('Against the baseline, over seeds', rows, [*notes, *known], left=3)


def image_section(comparisons: Sequence[Comparison]) -> Section:
    """The same over images, of the runs that have a score of each."""
    scored = [one for one in comparisons if one.images]
    corrected = holm([one.images.p for one in scored])
    rows = [
        {
            **_named(one),
            'images': str(one.images.n),
            **_tested(one.images, p),
            'd_z': effect(one.images.effects.get('d_z')),
        }
        for one, p in zip(scored, corrected, strict=True)
    ]
    # Else a csv, where both tables are one, would hold only one of each column.
    rows = [
        {name if name in _named(one) else f'{name} (images)': cell for name, cell in row.items()}
        for row, one in zip(rows, scored, strict=True)
    ]
    notes = [NOTE_IMAGES] if rows else []
    return Section('Against the baseline, over images', rows, notes, left=3)


def _named(one: Comparison) -> dict[str, str]:
    return {'data set': one.group.data, 'group': one.group.name, 'baseline': one.baseline.name}


def _tested(difference: Difference, p_holm: float | None) -> dict[str, str]:
    return {
        'difference': f'{difference.mean:+.2f}',
        '95% (t)': between(difference.interval, '+'),
        '95% (bootstrap)': between(difference.bootstrap, '+'),
        'p': probability(difference.p),
        'p (Holm)': probability(p_holm),
    }


def _cost(one: Comparison, sizes: Mapping[Group, Complexity]) -> dict[str, str]:
    own, other = sizes.get(one.group), sizes.get(one.baseline)
    cells = {}
    for name, key in (('params', 'params'), ('multiply-adds', 'flops')):
        added = (getattr(own, key) - getattr(other, key)) / 1e6 if own and other else None
        each = None if added is None else one.per_unit(added)
        cells[f'+{name} (M)'] = '-' if added is None else f'{added:+.3g}'
        cells[f'{name} (per 1%)'] = '-' if each is None else f'{each:.3g}'
    return cells


def _direction(one: Comparison) -> str:
    metric = one.group.metric
    return f'{metric.name}: {"lower" if metric.lower_is_better else "higher"} is better'


def _verdict(rows: Sequence[Mapping[str, str]]) -> str:
    significant = [
        f'{row["group"]} ({row["data set"]}, {row["difference"]})'
        for row in rows
        if row['p (Holm)'] != '-' and float(row['p (Holm)']) < ALPHA
    ]
    if not significant:
        return f'No difference is significant at {ALPHA:g}.'
    return f'Significant at {ALPHA:g}: {", ".join(significant)}.'


def _deviation(scores: Sequence[float]) -> float:
    mean = sum(scores) / len(scores)
    return (sum((score - mean) ** 2 for score in scores) / (len(scores) - 1)) ** 0.5


def millions(number: float) -> str:
    """Four digits, without an exponent."""
    number /= 1e6
    return f'{number:.0f}' if number >= 1000 else f'{number:.4g}'


def between(interval: tuple[float, float] | None, sign: str) -> str:
    """An interval as it is printed."""
    return '-' if interval is None else f'{interval[0]:{sign}.2f} .. {interval[1]:{sign}.2f}'


def probability(p: float | None) -> str:
    """A p as it is printed."""
    return '-' if p is None else f'{p:.2g}'


def effect(d: float | None) -> str:
    """A d as it is printed."""
    return '-' if d is None else f'{d:.2f}'
