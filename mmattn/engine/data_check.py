"""Looking at the data before a model is built: is it there, can it be read, does it fit?"""

import os.path as osp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmattn.datasets.guides import guide_of_reader
from mmattn.datasets.layouts import paths_of
from mmattn.engine.class_check import check_classes
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_datasets, type_name


@dataclass(frozen=True)
class Missing:
    """A path that a config needs and that is not there."""

    path: str
    expected: str
    wanted_by: str
    dataset: str


def check_data(cfg: Config, loaders: Sequence[str] = ('train', 'val')) -> list[str]:
    """Raise unless what the config's loaders and evaluators read is there and fits the config.

    Args:
        cfg: Config to check; it is not changed.
        loaders: Which of 'train', 'val' and 'test' the run will use.

    Returns:
        Notes on what is odd about the data.

    Raises:
        UserError: Names every missing path, what was expected there, the layout
            of the data set and where to get it, ``--data-root`` and ``--demo``;
            or the annotation file that cannot be read; or class names and numbers
            that do not fit, see :func:`check_classes`.
    """
    missing: list[Missing] = []
    local: list[dict] = []
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        if not dataloader:
            continue
        datasets = list(iter_datasets(dataloader.get('dataset')))
        for dataset in filter(_is_local, datasets):
            local.append(dataset)
            missing += _missing_of_dataset(dataset, f'{loader}_dataloader')
        kind = type_name(datasets[0]) if datasets else ''
        missing += _missing_of_evaluator(cfg.get(f'{loader}_evaluator'), loader, kind)
    if missing:
        raise UserError(_message(missing))
    return check_classes(cfg, local)


def _is_local(dataset: dict) -> bool:
    backend = dataset.get('backend_args') or dataset.get('file_client_args') or {}
    if backend.get('backend', 'local') not in ('local', 'disk'):
        return False
    return not any('://' in path for path, _ in paths_of(dataset, type_name(dataset)))


def _missing_of_dataset(dataset: dict, wanted_by: str) -> Iterator[Missing]:
    kind = type_name(dataset)
    for path, expected in paths_of(dataset, kind):
        problem = _problem(path, expected)
        if problem:
            yield Missing(path, problem, wanted_by, kind)


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


def _message(missing: list[Missing]) -> str:
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
    guides = list(dict.fromkeys(filter(None, (guide_of_reader(m.dataset) for m in missing))))
    if guides:
        lines.append('The usual layout, and where the data comes from:')
    for guide in guides:
        lines.append(guide.layout)
        lines.append(f'  python -m mmattn data {guide.name} --data-root DIR counts what is there')
    lines.append('If the data lies elsewhere: --data-root DIR (the folder called DATA_ROOT above).')
    lines.append('To try the config without any data, on generated images: --demo')
    return '\n'.join(lines)
