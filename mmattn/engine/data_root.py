"""Pointing a config at another copy of its data."""

import os.path as osp
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts

# Keys of a dataset or evaluator that hold paths (strings, or dicts of strings).
PATH_KEYS = ('ann_file', 'data_prefix', 'seg_prefix', 'proposal_file')


def set_data_root(cfg: Config, data_root: str) -> None:
    """Re-root every data path of a config, in place.

    All paths below the config's own data root (in loaders, nested dataset wrappers, evaluators,
    test-time augmentation) move below ``data_root``, a folder laid out like it, whether they are
    joined or not. If the config has several roots, it replaces their common parent.

    Raises:
        UserError: If the folder does not exist, or the config has no data root, or several
            without a common parent.
    """
    new = Path(data_root).expanduser()
    if not new.is_dir():
        what = 'is a file, not a folder' if new.exists() else 'does not exist'
        raise UserError(f'--data-root {data_root!r} {what}.')
    new_root = osp.abspath(new)
    datasets = list(_holders(cfg, ('dataloader', 'dataset')))
    roots = {_normal(root) for root in _find_roots(datasets)}
    roots = {root for root in roots if not any(_below(root, other) for other in roots - {root})}
    if not roots:
        raise UserError(
            f'--data-root {data_root!r}: no data loader of the config has a data_root or a path, '
            'so there is nothing to point elsewhere.'
        )
    old_root = roots.pop() if len(roots) == 1 else _common_parent(roots, data_root)

    files = [node.get('ann_file') for node in datasets]
    relative_files = {file for file in files if _is_local(file) and not osp.isabs(file)}
    for key, value in list(cfg._cfg_dict.items()):
        if key in ('model', 'work_dir', 'load_from', 'init_cfg', 'filename'):
            continue
        cfg._cfg_dict[key] = _map_strings(value, lambda text: _reroot(text, old_root, new_root))
    for node in _holders(cfg, ('evaluator',)):
        _reroot_foreign(node, relative_files, new_root)
    # A root that is '.' or a dataset without one: joined paths have been moved above.
    for node in _holders(cfg, ('dataloader', 'dataset')):
        if isinstance(node.get('data_root'), str) and _normal(node['data_root']) == old_root:
            node['data_root'] = new_root


def _holders(cfg: Config, endings: tuple[str, ...]) -> Iterator[dict]:
    """Yield the dicts inside the top-level keys with one of the endings."""
    for key, value in cfg._cfg_dict.items():
        if key.endswith(endings):
            yield from iter_dicts(value)


def _find_roots(datasets: list[dict]) -> set[str]:
    roots = {node['data_root'] for node in datasets if _is_local(node.get('data_root'))}
    if roots:
        return roots
    # No data_root anywhere: paths are joined already, the folder they share is the root.
    paths = [path for node in datasets for path in _paths(node)]
    folders = [path if not osp.splitext(path)[1] else osp.dirname(path) for path in paths]
    return {_parent_of(folders)} if folders else set()


def _paths(node: dict) -> list[str]:
    values = [node.get(key) for key in PATH_KEYS]
    groups = [value.values() if isinstance(value, dict) else [value] for value in values]
    return [text for group in groups for text in group if _is_local(text)]


def _is_local(text: Any) -> bool:
    return isinstance(text, str) and bool(text) and '://' not in text


def _normal(path: str) -> str:
    return osp.normpath(osp.expanduser(path))


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(osp.sep) + osp.sep)


def _parent_of(paths: list[str]) -> str:
    if len({osp.isabs(path) for path in paths}) > 1:
        paths = [osp.abspath(path) for path in paths]
    return osp.commonpath([_normal(path) for path in paths]) or '.'


def _common_parent(roots: set[str], data_root: str) -> str:
    parent = _parent_of(sorted(roots))
    if parent in ('.', osp.sep):
        raise UserError(
            f'--data-root {data_root!r}: the config has several data roots without a common '
            f'parent ({", ".join(sorted(roots))}); set each data_root with --cfg-options.'
        )
    return parent


def _map_strings(node: Any, change: Callable[[str], str]) -> Any:
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        for key in node:
            node[key] = _map_strings(node[key], change)
        return node
    if isinstance(node, list):
        return [_map_strings(child, change) for child in node]
    if type(node) is tuple:
        return tuple(_map_strings(child, change) for child in node)
    return node


def _reroot(text: str, old_root: str, new_root: str) -> str:
    if not _is_local(text) or old_root in ('.', osp.sep):
        return text
    path = _normal(text)
    for root in (old_root, osp.abspath(old_root)):
        if _below(path, root):
            moved = osp.normpath(osp.join(new_root, osp.relpath(path, root)))
            # 'train/' + name is joined by plain addition in places: keep a trailing slash
            return moved + '/' if text.endswith('/') else moved
    return text


def _reroot_foreign(node: dict, relative_files: set[str], new_root: str) -> None:
    """Move an evaluator's file that is one of the datasets', written with another root."""
    text = node.get('ann_file')
    if not _is_local(text) or _below(_normal(text), new_root):
        return
    for file in relative_files:
        if ('/' + _normal(text)).endswith('/' + _normal(file)):
            node['ann_file'] = osp.join(new_root, file)
            return
