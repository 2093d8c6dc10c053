"""``--cfg-options``: changing a config from the command line."""

import argparse
import difflib
import inspect
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmattn.utils.errors import UserError

# Similar enough to be a slip of the keyboard: 'backbon', 'attenion', but not 'test_cfg'.
TYPO_CUTOFF = 0.8


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` strings with the syntax of mmengine's ``DictAction``."""
    for option in options:
        if '=' not in option:
            raise UserError(f'--cfg-options {option!r} is not of the form key=value.')
    if not options:
        return {}
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    # A value may begin with a dash (lr=-1 does not, but '-x=1' would look like a flag).
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def merge_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Merge options into ``cfg`` in place; refuse keys that look misspelt.

    A key the config does not have is refused if a neighbour's name is nearly
    the same and the component does not take it; other new keys are merged
    and noted.

    Args:
        cfg: Config to change.
        options: Dotted keys and values.

    Returns:
        Notes about keys that the config did not have before.
    """
    notes = []
    for key, value in options.items():
        note = _check_option(cfg, key)
        if note:
            notes.append(note)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AssertionError) as error:
            raise UserError(f'--cfg-options {key}={value} does not fit the config: {error}') from (
                error
            )
    return notes


def _check_option(cfg: Config, key: str) -> str | None:
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
        if near and part not in _known_arguments(cfg, node, top_level=depth == 0):
            meant = '.'.join([*parts[:depth], near[0], *parts[depth + 1 :]])
            raise UserError(
                f'--cfg-options {key}: {where} has no key {part!r}. Did you mean {meant}? '
                f'It has: {", ".join(map(str, node))}.'
            )
        return f'--cfg-options {key}: a new key, {where} had no {part!r}.'
    return None


def _known_arguments(cfg: Config, node: dict, top_level: bool) -> set[str]:
    """Arguments of the component that a dict of the config describes, as far as known."""
    component = Runner if top_level else node.get('type')
    if isinstance(component, str):
        scope = cfg.get('default_scope') or 'mmengine'
        component = find_component(component if '.' in component else f'{scope}.{component}')
    return accepted_arguments(component) if inspect.isclass(component) else set()


def accepted_arguments(component: type) -> set[str]:
    """Names of the arguments of a class and of those it inherits from."""
    inits = [vars(base)['__init__'] for base in component.__mro__ if '__init__' in vars(base)]
    names = {name for init in inits[:-1] for name in inspect.signature(init).parameters}
    return names - {'self', 'args', 'kwargs'}


def find_component(name: str) -> type | None:
    """The class of a full name such as ``'mmdet.FasterRCNN'``, of any kind; None if unknown."""
    import mmengine.registry

    import mmattn  # noqa: F401  registers 'mmattn.X'

    registries = [r for r in vars(mmengine.registry).values() if isinstance(r, Registry)]
    for registry in registries:
        try:
            found = registry.get(name)
        except RuntimeError:  # what get() raises for 'unknown.Name'
            continue
        if found is not None:
            return found
    return None
