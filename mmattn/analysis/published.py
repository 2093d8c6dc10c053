"""What follows from the figures that the SE-Res2Net report prints, beside what it says follows."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from mmattn import experiments
from mmattn.analysis.comparison_tables import between, effect, probability
from mmattn.analysis.statistics import (
    correlation_for,
    d_z_of,
    p_of,
    paired_given_correlation,
    welch,
)
from mmattn.analysis.tables import Section
from mmattn.experiments.rows import Experiment, find_experiments, load_tables

SOURCE = Path(experiments.__file__).with_name('published.yml')
TABLE, ABLATION = 'res2net-1', 'res2net-4'
# Correlations of the pairs, which the report does not give.
LOWEST, HIGHEST = -1.0, 1.0
NOTE_PAIRED = (
    'a paired test needs the runs themselves: means and deviations leave the correlation r of the '
    f'pairs open. The ranges are those of r from {LOWEST:g} to {HIGHEST:g}; Welch and d_s take the '
    'runs as unpaired.'
)
NOTE_ROUNDED = 'means and deviations are rounded to 0.01 % in the report, and so is what follows.'
NOTE_ABLATION = 'the report gives no deviations for this table: nothing can be tested.'


@cache
def published() -> dict[str, Any]:
    """The content of published.yml."""
    return yaml.safe_load(SOURCE.read_text(encoding='utf-8'))


def sections() -> list[Section]:
    """The report's tables 1, 2 and 4, from its own numbers."""
    return [_significance(), _efficiency(), _ablation()]


def _rows(table: str) -> dict[str, Experiment]:
    return {row.name: row for row in find_experiments(table)}


def _row(model: str) -> tuple[Experiment, float]:
    """A model's figures, and the deviation of its errors over the seeds."""
    entry = published()['models'][model]
    return _rows(TABLE)[entry['row']], entry['deviation']


def _significance() -> Section:
    rows, notes = [], [NOTE_PAIRED]
    for model in published()['models']:
        row, deviation = _row(model)
        cells = {
            'model': model,
            'params (M)': f'{row.paper["params"]:.2f}',
            'multiply-adds (M)': f'{row.paper["flops"]:g}',
            'error (%)': f'{row.paper["error"]:.2f}',
            'deviation': f'{deviation:.2f}',
        }
        if said := published()['comparisons'].get(model):
            more, note = _tests(model, row, deviation, said)
            cells.update(more)
            notes.append(note)
        rows.append(cells)
    return Section('Table 1: significance, of means over three seeds', rows, [*notes, NOTE_ROUNDED])


def _tests(
    model: str, row: Experiment, deviation: float, said: dict[str, Any]
) -> tuple[dict[str, str], str]:
    """What the tests give for a model against its baseline, and how the report's fit in."""
    other, other_deviation = _row(said['baseline'])
    n, drop = len(row.seeds), other.paper['error'] - row.paper['error']
    deviations = (deviation, other_deviation)
    tested, d_s = welch(drop, *((each, n) for each in deviations))
    ends = [paired_given_correlation(drop, deviations, n, r) for r in (HIGHEST, LOWEST)]
    ps, ds = [test['p'] for test, _ in ends], [d for _, d in ends][::-1]
    r = correlation_for(said['p'], drop, deviations, n)
    cells = {
        'against': said['baseline'],
        'p (report)': f'{said["p"]:g}',
        'p (Welch)': probability(tested['p']),
        'p (paired)': ' .. '.join(map(probability, ps)),
        'd (report)': f'{said["d"]:g}',
        'd_s': effect(d_s),
        'd_z (paired)': between(tuple(ds), ''),
    }
    of_p = f'p = {said["p"]:g} follows at r = {r:.2f}, where d_z is {d_z_of(said["p"], n):.1f}'
    if not LOWEST <= r <= HIGHEST:
        of_p = f'p = {said["p"]:g} follows at no r'
    of_d = (
        f'd = {said["d"]:g} at some r'
        if ds[0] <= said['d'] <= ds[1]
        else (
            f'd = {said["d"]:g} at none, neither as d_z nor as d_s; with {n} pairs a d_z of '
            f'{said["d"]:g} has p = {p_of(said["d"], n):.2f}'
        )
    )
    return cells, f'{model}: {of_p}; {of_d}.'


def _efficiency() -> Section:
    rows, each, columns = [], {}, load_tables()[TABLE]['columns']
    for model, said in published()['comparisons'].items():
        row, other = _row(model)[0].paper, _row(said['baseline'])[0].paper
        added = {name: row[name] - other[name] for name in columns}
        drop = -added['error']
        each[model] = added['params'] / drop
        rows.append(
            {
                'model': model,
                'against': said['baseline'],
                '+params (report, M)': f'{said["params"]:+.2f}',
                '+params (M)': f'{added["params"]:+.2f}',
                'error (report, %)': f'{said["error"]:+.2f}',
                'error difference (%)': f'{added["error"]:+.2f}',
                'params per 1% (report, M)': f'{said["efficiency"]:g}',
                'params per 1% (abstract, M)': f'{said["abstract"]:g}',
                'params per 1% (M)': f'{each[model]:.3f}',
                'multiply-adds per 1% (M)': f'{added["flops"] / drop:.3g}',
            }
        )
    least, most = sorted(each.values())
    notes = [f'parameters: {most / least:.1f} times apart, in the report "nearly twenty".']
    for model, said in published()['comparisons'].items():
        if round(each[model], 3) != said['abstract']:
            notes.append(
                f"{model}: the abstract's {said['abstract']} M does not follow, and contradicts "
                'table 2.'
            )
    return Section('Table 2: error-drop efficiency', rows, notes, left=2)


def _ablation() -> Section:
    variants = {name: _rows(ABLATION)[row].paper for name, row in published()['ablation'].items()}
    plain = next(iter(variants.values()))
    best = min(figures['error'] for figures in variants.values())
    rows = []
    for name, figures in variants.items():
        drop, added = plain['error'] - figures['error'], figures['params'] - plain['params']
        rows.append(
            {
                'model': name,
                'params (M)': f'{figures["params"]:.2f}',
                'error (%)': f'{figures["error"]:.2f}',
                'error drop (%)': f'{drop:.2f}' if drop else '-',
                'params per 1% (M)': f'{added / drop:.3f}' if drop else '-',
                'above the best (%)': f'{figures["error"] - best:.2f}',
            }
        )
    return Section('Table 4: places of SE', rows, [NOTE_ABLATION])
