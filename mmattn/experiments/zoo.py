"""The pages of the model zoo: configs/README.md, configs/metafiles/ and model-index.yml.

They are written from experiments.yml, from measured.csv (sizes, written by
:func:`measure_all`) and from the runs kept in benchmarks/results/. The papers' accuracies are
called the papers'; ours are there only if a run is kept.
"""

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from mmattn.analysis.tables import markdown_table
from mmattn.data_guide import find_data_set
from mmattn.experiments.listing import figure
from mmattn.experiments.rows import Experiment, find_experiments, load_tables

FAMILIES = Path(__file__).with_name('families.yml')
MEASURED = Path(__file__).with_name('measured.csv')
COMMAND = 'python -m mmattn zoo'


@dataclass(frozen=True)
class Family:
    """Configs of one architecture: a metafile.

    Args:
        name: Of the file and in commands.
        title: Of the architecture.
        task: As model-index files name it.
        paper: Title of its paper.
        arxiv: Number of its paper.
        stems: What the names of its configs begin with.
    """

    name: str
    title: str
    task: str
    paper: str
    arxiv: str
    stems: tuple[str, ...]


@cache
def load_families() -> list[Family]:
    """The families of families.yml."""
    entries = yaml.safe_load(FAMILIES.read_text(encoding='utf-8'))
    return [
        Family(name, **{**entry, 'stems': tuple(entry['stems'])}) for name, entry in entries.items()
    ]


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


def measure_all(configs_dir: Path, track: Callable[[list], Iterable] = iter) -> list[Size]:
    """Measure every config and every row of experiments.yml, once each.

    Args:
        configs_dir: The folder of the configs.
        track: Wraps the list of what is measured to show progress.
    """
    from mmattn.analysis import measure
    from mmattn.engine.config import load_config
    from mmattn.engine.summary import describe_attention

    wanted = {(stem, ()): None for stem in config_stems(configs_dir)}
    wanted.update({(e.config, tuple(e.cfg_options())): None for e in find_experiments()})
    sizes = []
    for config, options in track(sorted(wanted)):
        cfg, _ = load_config(config, list(options))
        found = measure(cfg)
        attention = describe_attention(cfg)
        counts = (found.params, found.flops, *found.size)
        sizes.append(Size(config, ' '.join(options), attention, *counts))
    return sizes


def write_sizes(sizes: list[Size], path: Path = MEASURED) -> None:
    """Write measured sizes as CSV."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Size)], lineterminator='\n')
        writer.writeheader()
        writer.writerows(map(asdict, sizes))


def read_sizes(path: Path = MEASURED) -> dict[tuple[str, str], Size]:
    """(config, options) -> its measured size."""
    kinds = {f.name: f.type for f in fields(Size)}
    with path.open(newline='', encoding='utf-8') as file:
        sizes = [Size(**{k: kinds[k](v) for k, v in row.items()}) for row in csv.DictReader(file)]
    return {(size.config, size.options): size for size in sizes}


def config_stems(configs_dir: Path) -> list[str]:
    """Names of all shipped configs."""
    return sorted(path.stem for path in configs_dir.glob('*.py'))


def family_of(config: str) -> Family:
    """The family of a config.

    Raises:
        KeyError: If there is none yet.
    """
    for family in load_families():
        if config.startswith(family.stems):
            return family
    raise KeyError(f'{config}: no family of mmattn/experiments/families.yml has its name')


def data_of(config: str) -> str:
    """Title of the data set of a config, which its name ends with."""
    name = config.rsplit('_', 1)[1]
    return find_data_set({'in1k': 'imagenet'}.get(name, name)).title


def own_row(config: str, attention: str) -> Experiment | None:
    """The row that a config is as it stands; None if no paper has it."""
    key = 'model.backbone.attention'
    switch = {key: None} if attention == 'none' else {f'{key}.type': attention}
    for row in find_experiments():
        if row.config == config and row.overrides in ({}, switch):
            return row
    return None


def read_runs(results_dir: Path) -> dict[str, dict]:
    """Name -> outcome of each run that benchmarks/results/ keeps."""
    files = sorted(results_dir.glob('*.json'))
    return {path.stem: json.loads(path.read_text(encoding='utf-8')) for path in files}


def render_pages(root: Path) -> dict[Path, str]:
    """Every generated file of a checkout -> its text.

    Args:
        root: The folder that holds configs/ and benchmarks/.

    Raises:
        KeyError: If a config has no family or has not been measured.
    """
    sizes = read_sizes()
    stems = config_stems(root / 'configs')
    missing = [stem for stem in stems if (stem, '') not in sizes]
    if missing:
        raise KeyError(f'not measured: {", ".join(missing)}; run {COMMAND} --measure')
    runs = read_runs(root / 'benchmarks' / 'results')
    pages = {root / 'configs' / 'README.md': _readme(root, stems, sizes, runs)}
    imports = []
    for family in load_families():
        name = f'configs/metafiles/{family.name}.yml'
        members = [stem for stem in stems if family_of(stem) is family]
        pages[root / name] = _metafile(family, [sizes[stem, ''] for stem in members], runs)
        imports.append(name)
    pages[root / 'model-index.yml'] = _yaml({'Import': imports})
    return pages


def _yaml(content: dict) -> str:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return f'# Written by `{COMMAND}`; do not edit.\n{text}'


def _metafile(family: Family, members: list[Size], runs: dict[str, dict]) -> str:
    collection = {
        'Name': family.title,
        'Paper': {'Title': family.paper, 'URL': f'https://arxiv.org/abs/{family.arxiv}'},
        'README': 'configs/README.md',
    }
    models = [_model(family, size, runs) for size in members]
    return _yaml({'Collections': [collection], 'Models': models})


def _model(family: Family, size: Size, runs: dict[str, dict]) -> dict:
    model = {
        'Name': size.config,
        'In Collection': family.title,
        'Config': f'configs/{size.config}.py',
        'Metadata': {
            'Attention': size.attention,
            'Training Data': data_of(size.config),
            'Parameters': size.params,
            'FLOPs': size.flops,
            'Input Size': [size.height, size.width],
        },
    }
    row = own_row(size.config, size.attention)
    if row is not None:
        table = load_tables()[row.table]
        figures = {key: row.paper[key] for key in _accuracies(table)}
        # Not 'Results': nothing here was trained by us.
        model['paper'] = {'Source': table['source'], **figures}
    if size.config in runs:
        run = runs[size.config]
        metrics = {key: float(f'{value:.4g}') for key, value in run['metrics'].items()}
        results = {'Task': family.task, 'Dataset': data_of(size.config), 'Metrics': metrics}
        model['Results'] = [{**results, 'Note': run['note']} if run['note'] else results]
    return model


def _accuracies(table: dict) -> list[str]:
    return [column for column in table['columns'] if column in table['metrics']]


README = f"""# Configs

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


def _readme(root: Path, stems: list[str], sizes: dict, runs: dict[str, dict]) -> str:
    sections = [README, *(_table(name, sizes) for name in load_tables())]
    in_tables = {experiment.config for experiment in find_experiments()}
    others = [stem for stem in stems if stem not in in_tables]
    sections.append(_others(root, [sizes[stem, ''] for stem in others]))
    sections.append(_runs(runs))
    return '\n'.join(sections)


def _table(name: str, sizes: dict) -> str:
    table = load_tables()[name]
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
    text = markdown_table(header, rows, left=2)
    source = f'{table["source"]}. {_note(table)}'.rstrip()
    return f'## {name}: {table["title"]}\n\n{source}\n\n{text}'


def _note(table: dict) -> str:
    notes = [table.get('note', ''), *(row.note for row in table['experiments'])]
    return ' '.join(note[0].upper() + note[1:] for note in notes if note)


COUNTS = ['parameters (M)', 'multiply-adds (G)']


def _counts(size: Size) -> list[str]:
    return [f'{size.params / 1e6:.3f}', f'{size.flops / 1e9:.3f}']


def _link(config: str) -> str:
    return f'[{config}]({config}.py)'


def _others(root: Path, members: list[Size]) -> str:
    rows = []
    for size in members:
        text = (root / 'configs' / f'{size.config}.py').read_text(encoding='utf-8')
        summary = text.split('"""')[1].strip().split('\n')[0].rstrip('.')
        rows.append([_link(size.config), summary, *_counts(size)])
    return '## Further configs\n\n' + markdown_table(['config', 'what', *COUNTS], rows, left=2)


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
