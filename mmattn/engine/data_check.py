"""Looking at the data before a model is built: is it there, can it be read, does it fit?"""

import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config

from mmattn.datasets.guides import guide_of_reader
from mmattn.datasets.layouts import paths_of
from mmattn.engine.class_check import check_classes
from mmattn.utils.checkpoints import TRUST, is_trusting
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_datasets, type_name

PICKLES = ('.pkl', '.pickle')


def check_data(cfg: Config, loaders: Sequence[str] = ('train', 'val')) -> list[str]:
    """Raise unless what the config's loaders and evaluators read is there and fits the config.

    Args:
        cfg: Config to check; it is not changed.
        loaders: Which of 'train', 'val' and 'test' the run will use.

    Returns:
        Notes on what is odd about the data.

    Raises:
        UserError: Names every missing path, what was expected there, the layout of the data set
            and where to get it, ``--data-root`` and ``--demo``; or a file that is a pickle; or
            what :func:`check_classes` refuses.
    """
    wanted: list[tuple[str, str, str, str]] = []
    local: list[dict] = []
    for loader in loaders:
        dataloader = cfg.get(f'{loader}_dataloader')
        if not dataloader:
            continue
        datasets = list(iter_datasets(dataloader.get('dataset')))
        for dataset in filter(_is_local, datasets):
            local.append(dataset)
            kind = type_name(dataset)
            paths = paths_of(dataset, kind)
            wanted += [(*path, f'{loader}_dataloader', kind) for path in paths]
        kind = type_name(datasets[0]) if datasets else ''
        paths = _paths_of_evaluator(cfg.get(f'{loader}_evaluator'))
        wanted += [(*path, f'{loader}_evaluator', kind) for path in paths]
    missing: dict[tuple[str, str], list[str]] = {}
    kinds = []
    for path, expected, user, kind in wanted:
        problem = _problem(path, expected)
        if problem:
            missing.setdefault((path, problem), []).append(user)
            kinds.append(kind)
    if missing:
        raise UserError(_message(missing, kinds))
    if not (is_trusting() or (cfg.get('survival') or {}).get('trust_checkpoint')):
        _refuse_pickles(local)
    return check_classes(cfg, local)


def _refuse_pickles(datasets: Sequence[dict]) -> None:
    for dataset in datasets:
        for key, value in dataset.items():
            if isinstance(value, str) and value.lower().endswith(PICKLES):
                raise UserError(
                    f'{key}={value!r} of the data set {type_name(dataset)} is a pickle, which '
                    f'would run what it asks for. {TRUST}.'
                )


def _is_local(dataset: dict) -> bool:
    backend = dataset.get('backend_args') or dataset.get('file_client_args') or {}
    if backend.get('backend', 'local') not in ('local', 'disk'):
        return False
    return not any('://' in path for path, _ in paths_of(dataset, type_name(dataset)))


def _paths_of_evaluator(evaluator: Any) -> Iterator[tuple[str, str]]:
    if isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics') or [evaluator]
    for metric in evaluator or []:
        for key, expected in (('ann_file', 'file'), ('seg_prefix', 'folder')):
            if isinstance(metric, dict) and metric.get(key):
                yield metric[key], expected


def _problem(path: str, expected: str) -> str | None:
    if '://' in path:
        return None
    path = osp.expanduser(path)
    if expected == 'file' and not osp.isfile(path):
        return 'a file was expected' + (', this is a folder' if osp.isdir(path) else '')
    if expected == 'folder' and not osp.isdir(path):
        return 'a folder was expected' + (', this is a file' if osp.isfile(path) else '')
    return None


def _message(missing: dict[tuple[str, str], list[str]], kinds: list[str]) -> str:
    """The message for (path, problem) -> who wants it, and the dataset classes that read them."""
    lines = ['data that the config needs is missing:']
    for (path, problem), users in missing.items():
        lines.append(f'  {path}  ({problem}; {", ".join(dict.fromkeys(users))})')
        if not osp.isabs(path):
            lines[-1] += f'  looked for in {osp.abspath(path)}'
    guides = list(dict.fromkeys(filter(None, map(guide_of_reader, kinds))))
    if guides:
        lines.append('The usual layout, and where the data comes from:')
    for guide in guides:
        lines.append(guide.layout)
        lines.append(f'  python -m mmattn data {guide.name} --data-root DIR counts what is there')
    lines.append('If the data lies elsewhere: --data-root DIR (the folder called DATA_ROOT above).')
    lines.append('To try the config without any data, on generated images: --demo')
    return '\n'.join(lines)
