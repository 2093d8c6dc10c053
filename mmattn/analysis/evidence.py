"""What is known of attentions in networks like a config's: the papers' figures, kept runs."""

import re
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from mmattn.analysis.groups import collect
from mmattn.analysis.runs import read_runs
from mmattn.analysis.tables import Section
from mmattn.experiments.rows import PLAIN, Experiment, load_tables
from mmattn.utils.walk import iter_dicts, type_name

TASKS = ('classification', 'detection', 'instance segmentation', 'segmentation')
# Network -> its classes, and how names of configs say it.
FAMILIES = {
    'Res2Net': (r'(SE)?Res2Net', r'res2net'),
    'DenseNet': (r'DenseNet', r'densenet'),
    'MobileNetV2': (r'MobileNetV2', r'mobilenet_v2'),
    'RepVGG': (r'RepVGG', r'repvgg'),
    'Swin Transformer': (r'SwinTransformer', r'swin'),
    'ResNet': (r'(SE)?ResNet(V1[bcd]|_?CIFAR)?$', r'(^|_)(resnet|r)\d+_'),
}
DEPTH = re.compile(r'(?:^|_)(?:se_)?(?:resnet|r)(\d+)_')
# What is kept of our own trainings; in a checkout only.
KEPT = Path(__file__).resolve().parents[2] / 'benchmarks' / 'study' / 'results'


def task_of(cfg: Config) -> str:
    """The task that a config is for, one of TASKS."""
    if cfg.default_scope == 'mmdet':
        masks = any('mask_head' in node for node in iter_dicts(cfg._cfg_dict.model))
        return 'instance segmentation' if masks else 'detection'
    return 'segmentation' if cfg.default_scope == 'mmseg' else 'classification'


def family_of(cfg: Config) -> str | None:
    """The kind of network that a config's backbone is; None if no paper here has it."""
    name = network_name(cfg)
    return next((key for key, (kind, _) in FAMILIES.items() if re.match(kind, name)), None)


def network_name(cfg: Config) -> str:
    """Class of a config's backbone; of the network within ``mmattn.AnyBackbone``."""
    backbone = cfg.model.backbone
    return type_name(dict(type=backbone.get('network') or backbone.type))


def rows_like(task: str, family: str | None, depth: int | None) -> list[Experiment]:
    """Rows of the papers' tables of a task and kind of network.

    Those of the same depth if attentions are among them, of any depth otherwise.
    """
    if family is None:
        return []
    rows = [
        row
        for table in load_tables().values()
        if table.get('task') == task
        for row in table['experiments']
        if re.search(FAMILIES[family][1], row.config)
    ]
    same = [row for row in rows if depth and (DEPTH.findall(row.config) or [0])[0] == str(depth)]
    return same if any(row.attention for row in same) else rows


def published(cfg: Config, task: str, names: Iterable[str]) -> Section:
    """What the papers report of attentions, beside their plain networks."""
    family, names = family_of(cfg), list(names)
    rows = rows_like(task, family, cfg.model.backbone.get('depth'))
    columns: dict[str, dict[str, float]] = {}
    sources: dict[str, str] = {}
    for row in rows:
        table = load_tables()[row.table]
        metric = next(iter(table['metrics']))
        value = row.paper[metric]
        if value is not None and (row.row == (row.attention or PLAIN)):
            column = columns.setdefault(f'{row.table} {row.config} {metric}', {})
            column[row.attention or PLAIN] = value
            sources[row.table] = f'{row.table}: {table["source"]}.'
    lines = {
        name: {column: _beside(figures, name) for column, figures in columns.items()}
        for name in [PLAIN, *names]
    }
    known = {name: cells for name, cells in lines.items() if set(cells.values()) - {'-'}}
    what = f'{task} with {family or network_name(cfg)}'
    notes = [
        *sources.values(),
        'in brackets: the difference to the plain network of the same table.',
    ]
    if not known:
        notes = [f'no table of a paper here is of {what}.']
    elif missing := [name for name in names if name not in known]:
        notes.append(f'no figures here of {len(missing)}: {", ".join(missing)}.')
    return Section(
        f'What papers report: {what}',
        [{'attention': name, **cells} for name, cells in known.items()],
        notes,
    )


def _beside(figures: dict[str, float], name: str) -> str:
    if name not in figures:
        return '-'
    if name == PLAIN or PLAIN not in figures:
        return f'{figures[name]:g}'
    return f'{figures[name]:g} ({figures[name] - figures[PLAIN]:+.2f})'


def kept_runs(task: str, names: Iterable[str], folder: Path = KEPT) -> Section | None:
    """Means of our own runs of the task whose logs are kept; None where there are none."""
    runs = read_runs([folder])[0] if folder.is_dir() else []
    runs = [run for run in runs if run.finished and run.task.lower().startswith(task)]
    if not runs:
        return None
    groups, notes = collect(runs)
    lines: dict[str, dict[str, str]] = {}
    for group in groups:
        scores = group.scores
        cell = f'{sum(scores) / len(scores):.2f} ({len(scores)} runs)'
        if group.attention in (PLAIN, *names):
            cells = lines.setdefault(group.attention, {})
            column = f'{group.data} {group.metric.name}'
            cells[column] = '; '.join([*filter(None, [cells.get(column)]), cell])
    notes.append(f'means over seeds; logs and configs: {folder}.')
    rows = [{'attention': name, **cells} for name, cells in lines.items()]
    return Section(f'What runs kept here show: {task}', rows, notes)
