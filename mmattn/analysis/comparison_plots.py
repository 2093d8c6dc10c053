"""Pictures of a comparison: scores and differences with intervals, the critical difference."""

from collections.abc import Sequence
from pathlib import Path

from mmattn.analysis.comparison import Comparison
from mmattn.analysis.extra import extra
from mmattn.analysis.groups import Group
from mmattn.analysis.plots import COLOURS, PAGE, figure
from mmattn.analysis.ranks import Ranks
from mmattn.analysis.statistics import mean_interval

ROW = 0.24  # height of a group in inches
RUN, MEAN, STRONG = '#999999', COLOURS[0], COLOURS[3]
ALPHA = 0.05


def plot_comparison(path: Path, groups: Sequence[Group], comparisons: Sequence[Comparison]) -> None:
    """Every run, the groups' means with 95 % intervals, and the differences with theirs.

    One row of panels for each data set; a difference is coloured where its Holm-corrected p is
    below 0.05.
    """
    data = list(dict.fromkeys(group.data for group in groups))
    members = {name: [group for group in groups if group.data == name] for name in data}
    heights = [len(part) * ROW + 0.8 for part in members.values()]
    options = dict(
        figsize=(PAGE, sum(heights)), height_ratios=heights, sharey='row', width_ratios=(3, 2)
    )
    with figure(path, len(data), 2, **options) as (drawn, axes):
        for (name, part), (left, right) in zip(members.items(), axes, strict=True):
            _scores(left, part)
            _differences(right, part, comparisons)
            left.set_yticks(range(len(part)), [group.name for group in part])
            left.set_ylim(len(part) - 0.5, -0.5)
            left.set_title(name, loc='left')
        # In the first panel that has one of a kind, so that each is explained once.
        shown = [panel.get_legend_handles_labels() for panel in axes.flat]
        named = {label: handle for panel in shown for handle, label in zip(*panel, strict=True)}
        handles, labels = [*named.values()], [*named]
        drawn.legend(handles, labels, loc='outside lower left', ncols=len(labels))


def _scores(axes, groups: Sequence[Group]) -> None:
    for row, group in enumerate(groups):
        axes.plot(group.scores, [row] * len(group.runs), 'o', color=RUN, ms=3, label='one run')
        mean = sum(group.scores) / len(group.runs)
        label = 'mean, 95% interval'
        _interval(axes, row, mean, mean_interval(group.scores), MEAN, MEAN, label)
    metric = groups[0].metric
    better = 'lower' if metric.lower_is_better else 'higher'
    axes.set_xlabel(f'{metric.name} ({metric.unit}{better} is better)')
    _grid(axes)


def _differences(axes, groups: Sequence[Group], comparisons: Sequence[Comparison]) -> None:
    axes.axvline(0, color='0.4', linewidth=0.8)
    here = [one for one in comparisons if one.group in groups]
    for one in here:
        row, difference = groups.index(one.group), one.difference
        colours, label = (RUN, 'white'), 'difference, 95% interval'
        if one.p_holm is not None and one.p_holm < ALPHA:
            colours, label = (STRONG, STRONG), f'{label}, p < {ALPHA:g} (Holm)'
        _interval(axes, row, difference.mean, difference.interval, *colours, label)
    against = ', '.join(dict.fromkeys(one.baseline.name for one in here))
    axes.set_xlabel(f'difference to {against}' if here else 'no comparison')
    axes.tick_params(axis='y', length=0)
    _grid(axes)


def _interval(axes, row, mean, interval, colour, face, label) -> None:
    spread = interval and [[mean - interval[0]], [interval[1] - mean]]
    style = dict(color=colour, markerfacecolor=face, markersize=4, capsize=2)
    axes.errorbar(mean, row, xerr=spread, fmt='D', label=label, **style)


def _grid(axes) -> None:
    axes.grid(axis='x', color='0.92')
    axes.set_axisbelow(True)


def plot_ranks(path: Path, ranks: Ranks) -> None:
    """The critical difference diagram: what a bar joins is not significantly different."""
    autorank = extra('autorank')
    names = len(ranks.means)
    with figure(path, figsize=(PAGE, 1.3 + 0.12 * names)) as (_, axes):
        autorank.plot_stats(ranks.result, allow_insignificant=True, ax=axes[0][0])
        axes[0][0].set_title(
            f'Mean rank over {ranks.blocks} {ranks.what} (Friedman p = {ranks.p:.2g}); '
            'a bar joins what is not significantly different.',
            fontsize=8,
        )
