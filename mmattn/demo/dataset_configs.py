"""Finds the data sets inside a config's loaders and points them at generated files."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def loaders(cfg: dict) -> Iterator[tuple[str, dict]]:
    """Yields name and config of the loaders that the config has."""
    for name in LOADERS:
        if cfg.get(name):
            yield name, cfg[name]


def wrappers(dataset: dict) -> Iterator[dict]:
    """Yields the wrappers around the data sets that read files."""
    inner = dataset.get('dataset')
    children = [inner] if inner is not None else dataset.get('datasets') or []
    if children:
        yield dataset
    for child in children:
        yield from wrappers(child)


@contextmanager
def scoped_datasets(scope: str) -> Iterator[object]:
    """The dataset registry of the toolbox `scope`, as the active scope."""
    from mmengine.registry import DATASETS

    with DATASETS.switch_scope_and_registry(scope) as registry:
        yield registry


def dataset_class(leaf: dict, scope: str) -> type:
    """The class behind a data set's type.

    Raises:
        ValueError: no such type is registered.
    """
    kind = leaf.get('type')
    if inspect.isclass(kind):
        return kind
    with scoped_datasets(scope) as registry:
        found = registry.get(kind) if kind else None
    if found is None:
        raise ValueError(f'dataset type {kind!r} is not registered in {scope}')
    return found


def build_unloaded(leaf: dict, scope: str) -> object:
    """The data set without its annotations read: says where it looks for which files."""
    bare = {key: value for key, value in leaf.items() if key != 'indices'}
    bare.update(lazy_init=True, pipeline=[])
    with scoped_datasets(scope) as registry:
        return registry.build(bare)


def relocate(leaf: dict, roots: dict[str, str], base: Path) -> None:
    """Points a data set at its own folder below `base`; the paths inside stay as they are.

    Args:
        leaf: edited.
        roots: original data_root -> generated one; filled as roots turn up.
        base: folder of all generated data.
    """
    old = str(leaf.get('data_root') or '')
    leaf['data_root'] = new = roots.setdefault(old, str(base / _folder_name(old, roots)))
    if leaf.get('ann_file'):
        leaf['ann_file'] = relative_to(str(leaf['ann_file']), old)
    prefix = leaf.get('data_prefix')
    if isinstance(prefix, str):
        leaf['data_prefix'] = relative_to(prefix, old)
    elif prefix:
        leaf['data_prefix'] = {
            key: value and relative_to(str(value), old) for key, value in prefix.items()
        }
    # Some data sets want their paths to exist before they are read.
    for value in [leaf.get('data_prefix')] if isinstance(prefix, str) else (prefix or {}).values():
        Path(new, relative_to(str(value or ''), old)).mkdir(parents=True, exist_ok=True)
    Path(new).mkdir(parents=True, exist_ok=True)
    if leaf.get('ann_file'):
        target = Path(new, leaf['ann_file'])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def relative_to(path: str, root: str) -> str:
    """`path` without `root` before it, never absolute, with its trailing slash."""
    if not path or not PurePosixPath(path).parts:
        return path
    slash = '/' if path.endswith('/') else ''
    pure = PurePosixPath(path)
    if root and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    elif pure.is_absolute():
        pure = pure.relative_to('/')
    # '..' would leave the generated folder.
    parts = [part for part in pure.parts if part not in ('..', '.', '~')]
    return '/'.join(parts) + slash


def _folder_name(root: str, roots: dict[str, str]) -> str:
    name = PurePosixPath(root).name.strip('.~') or 'data'
    taken = {Path(value).name for value in roots.values()}
    return name if name not in taken else f'{name}_{len(roots)}'
