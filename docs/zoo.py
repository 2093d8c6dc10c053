#!/usr/bin/env python
"""Write the pages of the model zoo: configs/README.md, configs/metafiles/ and model-index.yml.

They come from experiments.yml, from measured.csv (sizes, written with --measure) and from the
runs kept in benchmarks/results/. The papers' accuracies are called the papers'; ours are there
only if a run is kept. Only the checkout that this file lies in is written.
"""

import argparse
import ast
import csv
import io
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import track

# The checkout's own mmattn, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmattn.analysis import measure
from mmattn.analysis.tables import markdown_table
from mmattn.datasets.guides import find_guide
from mmattn.engine.prepare import prepare
from mmattn.engine.summary import describe_attention
from mmattn.experiments import Experiment, find_experiments, load_tables
from mmattn.experiments.listing import figure
from mmattn.utils.errors import UserError
from mmattn.utils.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = Path(__file__).with_name('families.yml')
MEASURED = Path(__file__).with_name('measured.csv')
COMMAND = 'python docs/zoo.py'


@dataclass(frozen=True)
class Size:
    """Measured size of a config with options.

    Attributes:
        config: Stem of the config.
        options: What ``--cfg-options`` has to say; '' for the config as it is.
        attention: Its attention, or 'none'.
        params: Parameters without an auxiliary head.
        flops: Multiply-adds of one image, as mmengine counts them.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """

    config: str
    options: str
    attention: str
    params: int
    flops: int
    height: int
    width: int


def measure_all(configs_dir: Path = ROOT / 'configs', known: Iterable[Size] = ()) -> list[Size]:
    """Measure every config and every row of experiments.yml, once each, but for the known ones."""
    wanted = {(stem, ()) for stem in config_stems(configs_dir)}
    wanted |= {(row.config, tuple(row.cfg_options())) for row in find_experiments()}
    console = Console(stderr=True)
    bar = {'console': console, 'disable': not console.is_terminal}
    measured = {(size.config, size.options): size for size in known}
    sizes = []
    for config, options in track(sorted(wanted), 'measuring', **bar):
        if (config, ' '.join(options)) in measured:
            sizes.append(measured[config, ' '.join(options)])
            continue
        cfg, _ = prepare(str(configs_dir / f'{config}.py'), options)
        found = measure(cfg)
        counts = (found.params, found.flops, *found.size)
        sizes.append(Size(config, ' '.join(options), describe_attention(cfg), *counts))
    return sizes


def write_sizes(sizes: Iterable[Size]) -> None:
    """Write measured.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Size)], lineterminator='\n')
    writer.writeheader()
    writer.writerows(map(asdict, sizes))
    write_whole(MEASURED, text.getvalue())


def read_sizes() -> dict[tuple[str, str], Size]:
    """(config, options) -> its measured size."""
    kinds = {f.name: f.type for f in fields(Size)}
    with MEASURED.open(newline='', encoding='utf-8') as file:
        sizes = [Size(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]
    return {(size.config, size.options): size for size in sizes}


@cache
def load_families() -> dict[str, dict]:
    """Name of a metafile -> its entry in families.yml."""
    return yaml.safe_load(FAMILIES.read_text(encoding='utf-8'))


def family_of(config: str) -> str:
    """Name of the family of a config.

    Raises:
        UserError: If there is none yet.
    """
    for name, family in load_families().items():
        if config.startswith(tuple(family['stems'])):
            return name
    raise UserError(f'{config}: no family of docs/families.yml has its name')


def config_stems(configs_dir: Path) -> list[str]:
    """Names of all configs."""
    return sorted(path.stem for path in configs_dir.glob('*.py'))


def kept_runs(root: Path = ROOT) -> dict[str, dict]:
    """Config -> the run of it that benchmarks/results/ keeps."""
    files = sorted((root / 'benchmarks' / 'results').glob('*.json'))
    runs = {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in files}
    return {name: run for name, run in runs.items() if 'metrics' in run}  # others are timings


def render_pages(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file -> its text.

    Args:
        root: The folder that holds configs/ and benchmarks/.

    Raises:
        UserError: If a config has no family or has not been measured.
    """
    sizes = read_sizes()
    stems = config_stems(root / 'configs')
    missing = [stem for stem in stems if (stem, '') not in sizes]
    if missing:
        raise UserError(f'not measured: {", ".join(missing)}; run {COMMAND} --measure new')
    runs = kept_runs(root)
    pages = {'configs/README.md': _readme(root, stems, sizes, runs)}
    members = {name: [] for name in load_families()}
    for stem in stems:
        members[family_of(stem)].append(sizes[stem, ''])
    for name, family in load_families().items():
        pages[f'configs/metafiles/{name}.yml'] = _metafile(family, members[name], runs)
    imports = [name for name in pages if name.endswith('.yml')]
    pages['model-index.yml'] = _yaml({'Import': imports})
    return {root / name: text for name, text in pages.items()}


def _yaml(content: dict) -> str:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return f'# Written by `{COMMAND}`; do not edit.\n{text}'


def _metafile(family: dict, members: list[Size], runs: dict[str, dict]) -> str:
    collection = {
        'Name': family['title'],
        'Paper': {
            'Title': family['paper'],
            'URL': f'https://arxiv.org/abs/{family["arxiv"]}',
        },
        'README': 'configs/README.md',
    }
    models = [_model(family, size, runs) for size in members]
    return _yaml({'Collections': [collection], 'Models': models})


def _model(family: dict, size: Size, runs: dict[str, dict]) -> dict:
    model = {
        'Name': size.config,
        'In Collection': family['title'],
        'Config': f'configs/{size.config}.py',
        'Metadata': {
            'Attention': size.attention,
            'Training Data': data_of(size.config),
            'Parameters': size.params,
            'FLOPs': size.flops,
            'Input Size': [size.height, size.width],
        },
    }
    row = _own_row(size)
    if row is not None:
        table = load_tables()[row.table]
        figures = {key: row.paper[key] for key in _accuracies(table)}
        # Not 'Results': nothing here was trained by us.
        model['paper'] = {'Source': table['source'], **figures}
    if size.config in runs:
        run = runs[size.config]
        metrics = {key: float(f'{value:.4g}') for key, value in run['metrics'].items()}
        results = {
            'Task': family['task'],
            'Dataset': data_of(size.config),
            'Metrics': metrics,
        }
        model['Results'] = [{**results, 'Note': run['note']} if run['note'] else results]
    return model


def data_of(config: str) -> str:
    """Title of the data set of a config, which its name ends with."""
    name = config.rsplit('_', 1)[1]
    return find_guide({'in1k': 'imagenet'}.get(name, name)).title


def _own_row(size: Size) -> Experiment | None:
    """The row that a config is as it stands; None if no paper has it."""
    key = 'model.backbone.attention'
    switch = {key: None} if size.attention == 'none' else {f'{key}.type': size.attention}
    own = (
        row
        for row in find_experiments()
        if row.config == size.config and row.overrides in ({}, switch)
    )
    return next(own, None)


def _accuracies(table: dict) -> list[str]:
    return [column for column in table['columns'] if column in table['metrics']]


INTRO = f"""# Configs

Written by `{COMMAND}`; do not edit.

Each config is a few lines on top of the stock one. A row is a config with `--cfg-options`;
`python -m mmattn experiments --table NAME` prints the command of each, and
`python tools/run_table.py --table NAME` runs them and prints the results beside the paper's.

- **parameters and multiply-adds are measured** (`tools/analysis_tools/complexity.py`): of one
  image, without an auxiliary head, as mmengine counts; the scalars of `warm_start` are in.
- **accuracies under 'paper' are the paper's**, trained by its authors, in per cent.
- ours are those of [the runs kept here](#runs-kept-here), and no others.

The metafiles for OpenMMLab's tools are in [metafiles/](metafiles).
"""
COUNTS = ['parameters (M)', 'multiply-adds (G)']


def _readme(root: Path, stems: list[str], sizes: dict, runs: dict[str, dict]) -> str:
    sections = [INTRO, *(_table(name, table, sizes) for name, table in load_tables().items())]
    in_tables = {row.config for row in find_experiments()}
    others = [sizes[stem, ''] for stem in stems if stem not in in_tables]
    return '\n'.join([*sections, _others(root, others), _runs(runs)])


def _table(name: str, table: dict, sizes: dict) -> str:
    metrics = _accuracies(table)
    rows = [
        [
            _link(row.config),
            row.row,
            *_counts(sizes[row.config, ' '.join(row.cfg_options())]),
            *(figure(row.paper[key]) for key in metrics),
        ]
        for row in table['experiments']
    ]
    header = ['config', 'row', *COUNTS, *(f"paper's {key}" for key in metrics)]
    seeds = ', '.join(map(str, table.get('seeds', [])))
    notes = [
        f"the paper's figures are means over seeds {seeds}." if seeds else '',
        table.get('note', ''),
    ]
    notes += [row.note for row in table['experiments']]
    notes = [note[0].upper() + note[1:] for note in notes if note]
    source = ' '.join([f'{table["source"]}.', *notes])
    return f'## {name}: {table["title"]}\n\n{source}\n\n{markdown_table(header, rows, left=2)}'


def _counts(size: Size) -> list[str]:
    return [f'{size.params / 1e6:.3f}', f'{size.flops / 1e9:.3f}']


def _link(config: str) -> str:
    return f'[{config}]({config}.py)'


def _others(root: Path, members: list[Size]) -> str:
    rows = []
    for size in members:
        summary = summary_of(root / 'configs' / f'{size.config}.py')
        rows.append([_link(size.config), summary, *_counts(size)])
    return '## Further configs\n\n' + markdown_table(['config', 'what', *COUNTS], rows, left=2)


def summary_of(config: Path) -> str:
    """The first line of a config's docstring.

    Raises:
        UserError: If it has none.
    """
    text = ast.get_docstring(ast.parse(config.read_text(encoding='utf-8')))
    if not text:
        raise UserError(
            f'{config.name} has no docstring: its first line is what the zoo says of it'
        )
    return text.split('\n')[0].rstrip('.')


def _runs(runs: dict[str, dict]) -> str:
    rows = []
    for name, run in runs.items():
        where = f'../benchmarks/results/{name}'
        metrics = ', '.join(f'{key} {value:.4g}' for key, value in run['metrics'].items())
        files = f'[log]({where}.log), [curve]({where}.png)'
        cells = [f'`{run["config"]}`', run['progress'], metrics, run['time'], run['note'], files]
        rows.append(cells)
    header = ['config', 'trained', 'result', 'time (2 CPU cores)', 'note', 'kept']
    return '## Runs kept here\n\n' + markdown_table(header, rows, left=6)


def main(argv: list[str] | None = None) -> int:
    """Write the pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument(
        '--measure',
        nargs='?',
        const='all',
        choices=('all', 'new'),
        help='first measure every config and every row again (minutes), or those that are not yet '
        'in docs/measured.csv, into it',
    )
    args = parser.parse_args(argv)
    try:
        if args.measure:
            known = read_sizes().values() if args.measure == 'new' else ()
            write_sizes(measure_all(known=known))
            print(f'written: {MEASURED}')
        for path, text in render_pages().items():
            write_whole(path, text)
            print(f'written: {path}')
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == '__main__':
    sys.exit(main())
