"""Finding and reading configs, and changing them with ``--cfg-options``."""

import argparse
import difflib
import inspect
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mmengine.registry
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.hub import get_config
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmattn.engine.mistakes import accepted_arguments, explain_reading
from mmattn.engine.survival.options import Survival
from mmattn.utils.errors import UserError, did_you_mean

TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')
# Similar enough to be a slip of the keyboard: 'backbon', 'attenion', but not 'test_cfg'.
TYPO_CUTOFF = 0.8


def shipped_configs_dir() -> Path | None:
    """Folder of the configs that come with mmattn: inside the wheel or beside the checkout."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / '.mim' / 'configs', package.parent / 'configs')
    return next(filter(Path.is_dir, folders), None)


def shipped_configs() -> dict[str, Path]:
    """Map the bare name of every shipped config to its path."""
    folder = shipped_configs_dir()
    paths = sorted(folder.rglob('*.py')) if folder else []
    return {path.stem: path for path in paths if '_base_' not in path.relative_to(folder).parts}


def find_config(name: str) -> Path:
    """The file of a path, or of a shipped config's name, ``configs/`` and ``.py`` or not.

    Raises:
        UserError: If no such file exists; names the nearest shipped configs.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    shipped = shipped_configs()
    # 'configs/X.py' means the shipped file from any working directory, as the README writes it.
    if path.parent in (Path('.'), Path('configs')):
        stem = path.name[:-3] if path.suffix == '.py' else path.name
        if stem in shipped:
            return shipped[stem]
    fault = 'is a folder; a config is a file' if path.is_dir() else 'does not exist'
    listed = f' Shipped configs: {", ".join(shipped)}.' if shipped else ''
    raise UserError(f'config {name!r} {fault}.{did_you_mean(path.stem, shipped) or listed}')


def load_config(name: str, options: Sequence[str] = ()) -> tuple[Config, list[str]]:
    """Read a config and merge ``--cfg-options`` into it.

    The name is that of :func:`find_config`, or ``mmdet::...`` and the like for the toolboxes'
    own. The folder of the config is searched last for what ``custom_imports`` names.

    Returns:
        The config, in which ``type='mmattn.X'`` resolves, with the ``default_scope`` of the
        toolbox that its model comes from, and notes for the user.

    Raises:
        UserError: If the file is missing or broken, or an option looks misspelt.
    """
    path = None if '::' in name else find_config(name)
    folder = str(path.resolve().parent) if path else None
    if folder and folder not in sys.path:
        sys.path.append(folder)
    try:
        cfg = Config.fromfile(str(path)) if path else get_config(name)
    except Exception as error:
        message = explain_reading(error)
        if message is None:
            raise
        raise UserError(f'config {name}: {message}') from error
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    files = {module: getattr(sys.modules.get(module), '__file__', None) for module in imports}
    notes = [
        f'{module} is imported from the folder of the config, {folder}.'
        for module, file in files.items()
        if file and folder and Path(file).resolve().is_relative_to(folder)
    ]
    if 'mmattn' not in imports:
        cfg.custom_imports = {'imports': [*imports, 'mmattn'], 'allow_failed_imports': False}
    notes += merge_options(cfg, parse_options(options))
    # Of the model's class, or before its name.
    kind = (cfg.get('model') or {}).get('type') or ''
    toolbox = (kind if isinstance(kind, str) else kind.__module__).partition('.')[0]
    if not cfg.get('default_scope') and toolbox in TOOLBOXES:
        cfg.default_scope = toolbox
    return cfg, notes


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` strings with the syntax of mmengine's ``DictAction``."""
    for option in options:
        if '=' not in option:
            raise UserError(f'--cfg-options {option!r} is not of the form key=value.')
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=DictAction)
    # A value may begin with a dash (lr=-1 does not, but '-x=1' would look like a flag).
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def merge_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Merge options (dotted keys and values) into ``cfg`` in place; refuse misspelt keys.

    A key the config does not have is refused if a neighbour's name is nearly
    the same and the component does not take it; other new keys are merged.

    Returns:
        Notes about keys that the config did not have before.
    """
    notes = []
    for key, value in options.items():
        notes += _check_option(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AssertionError) as error:
            message = f'--cfg-options {key}={value} does not fit the config: {error}'
            raise UserError(message) from error
    return notes


def _check_option(cfg: Config, key: str) -> list[str]:
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        where = '.'.join(parts[:depth]) or 'the config'
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise UserError(
                    f'--cfg-options {key}: {where} is a list of {len(node)} entries; {part!r} '
                    f'is not an index from 0 to {len(node) - 1}.'
                )
            node = node[int(part)]
            continue
        if not isinstance(node, dict):
            raise UserError(f'--cfg-options {key}: {where} is {node!r}, which has no key {part!r}.')
        if part in node:
            # dict options cannot be merged into None (attention=None); start from nothing
            if node[part] is None and depth < len(parts) - 1:
                node[part] = ConfigDict()
            node = node[part]
            continue
        near = difflib.get_close_matches(part, node, n=1, cutoff=TYPO_CUTOFF)
        owner = Runner if depth == 0 else Survival if where == 'survival' else node.get('type')
        if near and part not in _known_arguments(cfg, owner):
            meant = '.'.join([*parts[:depth], near[0], *parts[depth + 1 :]])
            raise UserError(
                f'--cfg-options {key}: {where} has no key {part!r}. Did you mean {meant}? '
                f'It has: {", ".join(map(str, node))}.'
            )
        return [f'--cfg-options {key}: a new key, {where} had no {part!r}.']
    return []


def _known_arguments(cfg: Config, component: Any) -> set[str]:
    """Arguments of a class, or of the class of a name in a config, of any registry."""
    if isinstance(component, str):
        scope = cfg.get('default_scope') or 'mmengine'
        name = component if '.' in component else f'{scope}.{component}'
        for registry in vars(mmengine.registry).values():
            # RuntimeError is what get() raises for 'unknown.Name'
            with suppress(RuntimeError):
                if isinstance(registry, Registry) and (found := registry.get(name)):
                    component = found
                    break
    return accepted_arguments(component) if inspect.isclass(component) else set()
