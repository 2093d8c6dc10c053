"""Reading runs of tools/train.py: what their work dirs hold."""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.datasets.guides import guides
from mmattn.engine.summary import SUMMARY_FILE, describe_attention, describe_task
from mmattn.utils.errors import UserError
from mmattn.utils.files import write_whole
from mmattn.utils.walk import iter_datasets

# The folder of one start of a run, named by mmengine.
TIMESTAMP = re.compile(r'\d{8}_\d{6}')
PER_IMAGE_FILE = 'per_image.json'
# What a config's name ends with, beside the names of the data sets that have a guide.
DATA_NAMES = ('in1k',)
# What two runs of one experiment may have apart: paths, seeds, the machine, how it is shown.
NO_SETTING = {
    *('work_dir', 'data_root', 'randomness', 'resume', 'load_from', 'launcher', 'env_cfg'),
    *('log_level', 'log_processor', 'visualizer', 'vis_backends', 'default_hooks', 'backend_args'),
    *('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'collate_fn'),
    *('model_wrapper_cfg', 'filename'),
}


@dataclass(frozen=True, eq=False)
class Run:
    """A training run, finished or not."""

    folder: Path
    name: str  # of its folder, with as many parents as tell it from the others
    summary: Mapping[str, Any] = field(default_factory=dict)  # {} until the run is finished

    @property
    def finished(self) -> bool:
        """Whether it came to its end; otherwise it has neither summary nor metrics."""
        return bool(self.summary)

    @property
    def config(self) -> str:
        """Path or name of the config, as the command had it."""
        if self.finished:
            return self.summary['config']
        return self.config_file.name if self.config_file else ''

    @property
    def stem(self) -> str:
        """Name of the config, without folder and ending."""
        return Path(self.config).stem

    @cached_property
    def config_file(self) -> Path | None:
        """The config as it was run, with all its bases; None if it was not kept."""
        own = [self.folder / f'{self.stem}.py'] if self.finished else []
        kept = [*own, *self.folder.glob('*.py'), *_in_order(self.folder, 'config.py')[::-1]]
        return next(filter(Path.is_file, kept), None)

    @cached_property
    def cfg(self) -> Config | None:
        """The content of ``config_file``; what it would import is not imported."""
        if self.config_file is None:
            return None
        return Config.fromfile(
            self.config_file, import_custom_modules=False, format_python_code=False
        )

    @property
    def attention(self) -> str:
        """Such as 'SCSA', or 'none'."""
        # The summary's word may be that of an earlier version, which left out SERes2Net's own SE.
        return describe_attention(self.cfg) if self.cfg else self.summary.get('attention') or '?'

    @property
    def task(self) -> str:
        """Such as 'detection (mmdet)'."""
        return self.summary.get('task') or (describe_task(self.cfg) if self.cfg else '?')

    @property
    def seed(self) -> int | None:
        """Of the random numbers; None if it is not known."""
        known = ((self.cfg and self.cfg.get('randomness')) or {}).get('seed')
        return self.summary.get('seed', known) if self.finished else known

    @property
    def data(self) -> str:
        """Name of the data set: in the config's name, or the folder that is validated on."""
        known = {*guides(), *DATA_NAMES}
        named = [word for word in self.stem.lower().split('_') if word in known]
        if named:
            return named[-1]
        loader = (self.cfg and self.cfg.get('val_dataloader')) or {}
        roots = [one['data_root'] for one in iter_datasets(loader) if one.get('data_root')]
        return Path(roots[0]).name.lower() if roots else self.stem

    @property
    def metrics(self) -> dict[str, float]:
        """Those of the last validation, as the evaluators name them and in their units."""
        return {
            name: value
            for name, value in self.summary.get('metrics', {}).items()
            if isinstance(value, int | float)
        }

    @cached_property
    def scalars(self) -> list[dict[str, Any]]:
        """What was logged, in its order; of a continued run all parts."""
        lines = [
            line
            for path in _in_order(self.folder, 'scalars.json')
            for line in path.read_text(encoding='utf-8', errors='replace').splitlines()
        ]
        return [entry for line in lines if (entry := _whole(line)) is not None]

    @property
    def started(self) -> str:
        """Timestamp of its last start; '' if no such folder was kept."""
        return max((path.name for path in self.folder.iterdir() if _is_start(path)), default='')

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Dotted key -> value: the config without what only a machine or a seed decides."""
        if self.cfg is None:
            return {}
        roots = [one.get('data_root') for one in iter_datasets(self.cfg.get('val_dataloader'))]
        roots = [root for root in roots if root]
        return {
            key: _below(value, roots)
            for key, value in flat(self.cfg.to_dict()).items()
            if not NO_SETTING & set(key.split('.'))
        }

    @cached_property
    def per_image(self) -> dict[str, float] | None:
        """Image -> score, from :data:`PER_IMAGE_FILE`; None if there is no such file.

        Raises:
            UserError: If it is not a json object of finite numbers.
        """
        path = self.folder / PER_IMAGE_FILE
        if not path.is_file():
            return None
        try:
            scores = json.loads(path.read_text(encoding='utf-8'))
        except ValueError as error:
            raise UserError(f'{path} is not json: {error}.') from error
        if not isinstance(scores, dict) or not all(map(_is_finite, scores.values())):
            raise UserError(f'{path} must hold {{image: score}}, every score a finite number.')
        return scores


def read_runs(folders: Iterable[str | Path]) -> tuple[list[Run], list[str]]:
    """All runs in folders and below them, finished or not, each once.

    Args:
        folders: Work dirs, or folders that hold them.

    Returns:
        The runs by their folders' names, and a line for each that cannot be read.

    Raises:
        UserError: If a folder does not exist or holds no run.
    """
    found: dict[Path, Run] = {}
    notes = []
    for top in map(Path, folders):
        if not top.is_dir():
            raise UserError(f'{str(top)!r} is no folder; a run is the work dir of a training.')
        below = list(_run_folders(top))
        if not below:
            raise UserError(
                f'{str(top)!r} holds no run: no {SUMMARY_FILE}, no folder of a start of a '
                'training such as 20260131_120000, neither in it nor below it.'
            )
        for folder in below:
            try:
                found.setdefault(folder.resolve(), Run(folder, folder.name, _summary(folder)))
            except ValueError as error:
                notes.append(f'{folder / SUMMARY_FILE} cannot be read: {error}.')
    return _with_names(found), list(dict.fromkeys(notes))


def write_per_image(folder: str | Path, scores: Mapping[str, float]) -> None:
    """Write the score of each image of a run into its work dir, for paired comparisons."""
    write_whole(Path(folder, PER_IMAGE_FILE), json.dumps(scores, indent=0) + '\n')


def flat(node: Any, prefix: str = '') -> dict[str, Any]:
    """Nested dicts and lists of dicts -> dotted keys, as ``--cfg-options`` takes them."""
    if isinstance(node, dict) and node:
        items = node.items()
    elif isinstance(node, list | tuple) and any(isinstance(item, dict) for item in node):
        items = enumerate(node)
    else:
        return {prefix: list(node) if isinstance(node, tuple) else node}
    found = {}
    for key, value in items:
        found.update(flat(value, f'{prefix}.{key}' if prefix else str(key)))
    return found


def _run_folders(top: Path) -> Iterable[Path]:
    for folder, below, files in os.walk(top):
        starts = [name for name in below if TIMESTAMP.fullmatch(name)]
        if SUMMARY_FILE in files or starts:
            yield Path(folder)
        below[:] = sorted(set(below) - set(starts))


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY_FILE
    if not path.is_file():
        return {}
    summary = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(summary, dict) or not {'config', 'metrics'} <= set(summary):
        raise ValueError('it is not a summary of tools/train.py')
    return summary


def _with_names(found: Mapping[Path, Run]) -> list[Run]:
    """Runs in the order of their folders; equal names get one more parent until they differ."""
    names = dict.fromkeys(found, 1)
    while True:
        shown = {path: '/'.join(path.parts[-parts:]) for path, parts in names.items()}
        names_of = list(shown.values())
        same = [path for path, name in shown.items() if names_of.count(name) > 1]
        if not same:
            return [replace(found[path], name=shown[path]) for path in sorted(found)]
        for path in same:
            names[path] += 1


def _is_start(path: Path) -> bool:
    return TIMESTAMP.fullmatch(path.name) is not None and path.is_dir()


def _in_order(folder: Path, name: str) -> list[Path]:
    """The files that the visualizer left, oldest start first."""
    return sorted([*folder.glob(f'vis_data/{name}'), *folder.glob(f'*/vis_data/{name}')])


def _whole(line: str) -> dict | None:
    """An entry of the log; None for one that was cut short when the run was killed."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _below(value: Any, roots: list[str]) -> Any:
    """A path without the folder of the data it lies in."""
    for root in roots:
        if isinstance(value, str) and value.startswith(root):
            return value[len(root) :].lstrip('/')
    return value


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
