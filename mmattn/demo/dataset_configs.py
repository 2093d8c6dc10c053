"""Finds the data sets inside a config's loaders and points them at generated files."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_distributed
from mmengine.registry import DATASETS

from mmattn.demo.tasks import Task
from mmattn.engine.class_check import reader_of
from mmattn.utils.errors import UnknownName
from mmattn.utils.walk import iter_datasets, iter_dicts

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def loaders(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yield name and config of the loaders that the config has."""
    for name in LOADERS:
        if cfg.get(name):
            yield name, cfg[name]


def dataset_class(leaf: dict, scope: str) -> type:
    """The class behind a data set's type.

    Raises:
        UnknownName: If no such type is registered.
    """
    found = reader_of(leaf, scope)
    if found is None:
        raise UnknownName(f'dataset type {leaf.get("type")!r} is not registered in {scope}.')
    return found


def build_unloaded(leaf: dict, scope: str) -> Any:
    """The data set without its annotations read: says where it looks for which files."""
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.build({**leaf, 'lazy_init': True, 'pipeline': []})


def redirect(cfg: Config, folder: Path) -> None:
    """Point every data set and evaluator at files below a folder, in place.

    Each data root gets a folder of its own there; the paths inside stay as they are.
    """
    roots: dict[str, str] = {}
    moved: dict[str, str] = {}
    for _, loader in loaders(cfg):
        for leaf in iter_datasets(loader['dataset']):
            old = _annotations(leaf)
            relocate(leaf, roots, folder)
            moved[old] = _annotations(leaf)
    for name in ('val', 'test'):
        for metric in iter_dicts(cfg.get(f'{name}_evaluator')):
            if metric.get('ann_file'):
                leaf = next(iter_datasets(cfg[f'{name}_dataloader']['dataset']))
                old = str(PurePosixPath(metric['ann_file']))
                metric['ann_file'] = moved.get(old, _annotations(leaf))


def relocate(leaf: dict, roots: dict[str, str], folder: Path) -> None:
    """Point a data set at its own folder below ``folder``, in place.

    Args:
        leaf: The data set's config.
        roots: Original data_root -> generated one; filled as roots turn up.
        folder: Of all generated data.
    """
    old = str(leaf.get('data_root') or '')
    if old not in roots:
        name = PurePosixPath(old).name.strip('.~') or 'data'
        taken = {Path(value).name for value in roots.values()}
        roots[old] = str(folder / (name if name not in taken else f'{name}_{len(roots)}'))
    leaf['data_root'] = roots[old]
    leaf.pop('indices', None)
    for key in ('ann_file', 'data_prefix'):
        value = leaf.get(key)
        if isinstance(value, dict):
            leaf[key] = {name: path and relative_to(path, old) for name, path in value.items()}
        elif value:
            leaf[key] = relative_to(value, old)


def make_paths(leaf: dict) -> None:
    """Make the folders of a relocated data set: some want them before they are read."""
    prefix = leaf.get('data_prefix') or ''
    for path in ['', *(prefix.values() if isinstance(prefix, dict) else [prefix])]:
        Path(leaf['data_root'], path or '').mkdir(parents=True, exist_ok=True)
    if leaf.get('ann_file'):
        target = Path(leaf['data_root'], leaf['ann_file'])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def relative_to(path: str, root: str) -> str:
    """``path`` without ``root`` before it, never absolute, with its trailing slash."""
    pure = PurePosixPath(path)
    if root and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    # '..' would leave the generated folder.
    parts = [part for part in pure.parts if part not in ('/', '..', '.', '~')]
    return '/'.join(parts) + ('/' if parts and path.endswith('/') else '')


def meet_without_a_disk(cfg: Config) -> None:
    """Let the evaluators of several processes exchange results over the network, in place.

    By default they do through files, which machines without a shared disk do not see.
    """
    for name in ('val', 'test') if is_distributed() else ():
        for metric in iter_dicts(cfg.get(f'{name}_evaluator')):
            if 'type' in metric and 'metrics' not in metric:
                metric['collect_device'] = 'gpu'


def keep_few(cfg: Config, task: Task) -> None:
    """Set batch size and workers for few images and two cores, in place."""
    for name, loader in loaders(cfg):
        loader['num_workers'] = task.workers
        loader['persistent_workers'] = task.workers > 0
        if name == 'train_dataloader':
            loader['batch_size'] = task.batch_size
            if not loader.get('batch_sampler'):
                # A batch of one image would leave batch norm without a spread.
                loader['drop_last'] = True
        loader.pop('num_batch_per_epoch', None)
        for wrapper in iter_dicts(loader['dataset']):
            if 'dataset' in wrapper and 'times' in wrapper:
                wrapper['times'] = 1


def _annotations(leaf: dict) -> str:
    return str(PurePosixPath(leaf.get('data_root') or '', leaf.get('ann_file') or ''))
