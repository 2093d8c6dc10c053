"""Measured throughput of the tables' rows: what benchmarks/speed.py has kept in a checkout."""

import json
from functools import cache
from pathlib import Path

from mmattn.experiments.rows import Experiment, load_tables

RESULTS = Path(__file__).resolve().parents[2] / 'benchmarks' / 'results'


def describe_throughput(row: Experiment) -> str | None:
    """A row's images a second, measured and the paper's, with the ratios to the plain network.

    None in a table without throughput; '-' where nothing is measured.
    """
    if 'throughput' not in row.paper:
        return None
    measured = []
    for part in _parts():
        for one in part['rows']:
            if _is_of(one, row):
                where = f'{part["device"]}, {one["dtype"]}, kernels {part["kernels"]}'
                measured.append(_figures(one['images'][0], one['ratio'][0], where))
                break
    images, plain = row.paper['throughput'], _plain_of_paper(row.config)
    paper = _figures(images, images / plain, 'RTX 4090')
    return f'throughput: measured {"; ".join(measured) or "-"}; paper {paper}'


def _figures(images: float, ratio: float, where: str) -> str:
    return f'{images:.4g} images/s, {ratio:.2f} of the plain network ({where})'


def _is_of(one: dict, row: Experiment) -> bool:
    """Whether a measurement is a row's: inference, NCHW, with the kernels."""
    kind = (one['step'], one['layout'])
    same = one['config'] == row.config and one['cfg_options'] == row.cfg_options()
    return same and kind == ('inference', 'NCHW') and one['kernels'] != 'pure'


@cache
def _parts() -> list[dict]:
    files = sorted(RESULTS.glob('speed_*.json')) if RESULTS.is_dir() else []
    kept = [json.loads(path.read_text(encoding='utf-8')) for path in files]
    return [parts['networks'] for parts in kept if 'networks' in parts]


def _plain_of_paper(config: str) -> float:
    rows = [row for table in load_tables().values() for row in table['experiments']]
    return next(
        row.paper['throughput']
        for row in rows
        if row.config == config and row.attention is None and 'throughput' in row.paper
    )
