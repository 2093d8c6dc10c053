"""Many groups over many data sets: mean ranks, Friedman's test and Nemenyi's critical difference.

Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006; computed by
autorank.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from mmattn.analysis.extra import extra
from mmattn.analysis.groups import Group
from mmattn.analysis.statistics import LEVEL
from mmattn.analysis.tables import Section
from mmattn.utils.errors import UserError

# What autorank asks for.
FEWEST_GROUPS, FEWEST_BLOCKS = 3, 5


@dataclass(frozen=True)
class Ranks:
    """Groups over blocks, which are data sets, or data sets and seeds."""

    means: dict[str, float]  # group -> mean rank, best (1 is best) first
    blocks: int
    what: str  # a block is
    p: float  # of Friedman's test
    critical: float  # difference of mean ranks beyond which two groups differ
    result: Any  # autorank's
    left_out: str = ''


def rank(groups: Sequence[Group]) -> Ranks:
    """Rank groups within each block, and test whether the ranks differ.

    A block is a data set, with means over the runs, where there are five or more; otherwise a
    data set with a seed: such ranks speak of these data sets only.

    Raises:
        UserError: If fewer than three groups are in all data sets, or there are fewer than five
            blocks; says what is missing.
    """
    by_data: dict[str, dict[str, Group]] = {}
    for group in groups:
        by_data.setdefault(group.data, {})[group.name] = group
    # Ranks need every group in every block: the names that make most of both.
    names = max(
        (set(here) for here in by_data.values()),
        key=lambda some: len(some) * sum(some <= set(here) for here in by_data.values()),
    )
    used = {data: here for data, here in by_data.items() if names <= set(here)}
    blocks, what = _blocks(used, names)
    if len(names) < FEWEST_GROUPS or len(blocks) < FEWEST_BLOCKS:
        raise UserError(
            f'no ranks: they need {FEWEST_GROUPS} groups in {FEWEST_BLOCKS} blocks (data sets, or '
            f'data sets and seeds); there are {len(names)} in {len(blocks)}.'
        )
    data = extra('pandas').DataFrame(blocks)
    autorank = extra('autorank')
    with redirect_stdout(io.StringIO()):  # it prints its table
        result = autorank.autorank(
            data, alpha=1 - LEVEL, order='descending', force_mode='nonparametric'
        )
    means = result.rankdf['meanrank'].sort_values().to_dict()
    others = sorted(set(by_data) - set(used))
    left_out = f'left out: {", ".join(others)}, without some of these groups' if others else ''
    return Ranks(means, len(blocks), what, float(result.pvalue), float(result.cd), result, left_out)


def _blocks(
    used: dict[str, dict[str, Group]], names: set[str]
) -> tuple[list[dict[str, float]], str]:
    """Rows of scores, higher is better, and what a row is."""
    order = [name for name in next(iter(used.values())) if name in names]
    if len(used) >= FEWEST_BLOCKS:
        rows = [
            {name: _sign(here[name]) * sum(scores) / len(scores) for name in order
             for scores in [here[name].scores]}
            for here in used.values()
        ]  # fmt: skip
        return rows, 'data sets'
    rows = []
    for here in used.values():
        seeds = set.intersection(*(set(here[name].by_seed) for name in order))
        for seed in sorted(seeds):
            rows.append(
                {
                    name: _sign(here[name]) * here[name].metric.of(here[name].by_seed[seed])
                    for name in order
                }
            )
    return rows, f'seeds of {len(used)} data set{"s" * (len(used) > 1)}'


def _sign(group: Group) -> int:
    return -1 if group.metric.lower_is_better else 1


def section(ranks: Ranks) -> Section:
    """The ranks as a table."""
    rows = [{'group': name, 'mean rank': f'{rank:.2f}'} for name, rank in ranks.means.items()]
    notes = [
        f'over {ranks.blocks} {ranks.what}; 1 is best. Friedman: p = {ranks.p:.2g}; groups whose '
        f'mean ranks are less than {ranks.critical:.2f} apart are not '
        f'significantly different (Nemenyi, {LEVEL:.0%}).'
    ]
    if ranks.what != 'data sets':
        notes.append('blocks are seeds: the ranks speak of these data sets, not of others.')
    return Section('Ranks', rows, [*notes, ranks.left_out])
