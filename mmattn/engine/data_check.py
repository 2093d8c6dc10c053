"""Looking for the data before a model is built."""

import os.path as osp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmattn.data_guide import guide_of_dataset
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_datasets, type_name

CIFAR_FOLDERS = {'CIFAR10': 'cifar-10-batches-py', 'CIFAR100': 'cifar-100-python'}


@dataclass(frozen=True)
class Missing:
    """A path that a config needs and that is not there."""

    path: str
    expected: str
    wanted_by: str
    dataset: str


def check_data(cfg: Config, loaders: Sequence[str] = ('train', 'val')) -> None:
    """Raise unless everything the config's loaders and evaluators read exists.

    Args:
        cfg: Config to check; it is not changed.
        loaders: Which of 'train', 'val' and 'test' the run will use.

    Raises:
        UserError: Names every missing path, what was expected there, the layout
            of the data set and where to get it, ``--data-root`` and ``--demo``.
    """
    missing: list[Missing] = []
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        if not dataloader:
            continue
        datasets = list(iter_datasets(dataloader.get('dataset')))
        for dataset in datasets:
            missing += _missing_of_dataset(dataset, f'{loader}_dataloader')
        kind = type_name(datasets[0]) if datasets else ''
        missing += _missing_of_evaluator(cfg.get(f'{loader}_evaluator'), loader, kind)
    if missing:
        raise UserError(_message(cfg, missing))


def _missing_of_dataset(dataset: dict, wanted_by: str) -> list[Missing]:
    kind = type_name(dataset)
    backend = dataset.get('backend_args') or dataset.get('file_client_args') or {}
    if backend.get('backend', 'local') not in ('local', 'disk'):
        return []
    found = []
    for path, expected in _needs(kind, dataset):
        problem = _problem(path, expected)
        if problem:
            found.append(Missing(path, problem, wanted_by, kind))
    return found


def _needs(kind: str, dataset: dict) -> Iterator[tuple[str, str]]:
    """Yield (path, 'file' or 'folder') for what a dataset reads."""
    root = dataset.get('data_root') or ''
    prefix = dataset.get('data_prefix')
    if kind in CIFAR_FOLDERS:
        # Only a config that asks for it by name is left to download by itself.
        if dataset.get('download') is not True:
            yield osp.join(root, prefix or '', CIFAR_FOLDERS[kind]), 'folder'
        return
    if kind == 'ImageNet' and not prefix:
        prefix = dataset.get('split', '')
    if dataset.get('ann_file'):
        yield osp.join(root, dataset['ann_file']), 'file'
    if kind.startswith(('VOC', 'XML')):
        # the dataset class joins these names to sub_data_root
        sub_root = prefix.get('sub_data_root', '') if isinstance(prefix, dict) else prefix or ''
        yield osp.join(root, sub_root, dataset.get('ann_subdir', 'Annotations')), 'folder'
        yield osp.join(root, sub_root, dataset.get('img_subdir', 'JPEGImages')), 'folder'
        return
    prefixes = prefix.values() if isinstance(prefix, dict) else [prefix or '']
    for folder in prefixes:
        if isinstance(folder, str) and osp.join(root, folder):
            yield osp.join(root, folder), 'folder'


def _problem(path: str, expected: str) -> str | None:
    if '://' in path:
        return None
    path = osp.expanduser(path)
    if expected == 'file' and not osp.isfile(path):
        return 'a file was expected' + (', this is a folder' if osp.isdir(path) else '')
    if expected == 'folder' and not osp.isdir(path):
        return 'a folder was expected' + (', this is a file' if osp.isfile(path) else '')
    return None


def _missing_of_evaluator(evaluator: Any, loader: str, dataset: str) -> Iterator[Missing]:
    if isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics') or [evaluator]
    for metric in evaluator or []:
        for key, expected in (('ann_file', 'file'), ('seg_prefix', 'folder')):
            path = metric.get(key) if isinstance(metric, dict) else None
            problem = _problem(path, expected) if path else None
            if problem:
                yield Missing(path, problem, f'{loader}_evaluator', dataset)


def _message(cfg: Config, missing: list[Missing]) -> str:
    lines = ['data that the config needs is missing:']
    grouped: dict[tuple[str, str], list[str]] = {}
    for item in missing:
        users = grouped.setdefault((item.path, item.expected), [])
        if item.wanted_by not in users:
            users.append(item.wanted_by)
    for (path, expected), users in grouped.items():
        lines.append(f'  {path}  ({expected}; {", ".join(users)})')
        if not osp.isabs(path):
            lines[-1] += f'  looked for in {osp.abspath(path)}'
    guides = list(dict.fromkeys(filter(None, (guide_of_dataset(m.dataset) for m in missing))))
    if guides:
        lines.append('The usual layout, and where the data comes from:')
    for guide in guides:
        lines.append(guide.layout)
        lines.append(f'  python -m mmattn data {guide.name} --data-root DIR counts what is there')
    lines.append('If the data lies elsewhere: --data-root DIR (the folder called DATA_ROOT above).')
    lines.append('To try the config without any data, on generated images: --demo')
    return '\n'.join(lines)
