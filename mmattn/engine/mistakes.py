"""Mistakes in configs that mmengine stumbles over, in one line instead of a traceback.

Only what mmengine itself finds wrong with a config is put into words. An error inside a component
is a bug of that component and keeps its traceback.
"""

import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from mmengine.registry import Registry, build_from_cfg

from mmattn.utils.errors import did_you_mean


def explain_reading(error: Exception) -> str | None:
    """Say what is wrong with a config file that cannot be read; None if it is not the file."""
    stack = list(walk_tb(error.__traceback__))
    engine = [i for i, (frame, _) in enumerate(stack) if _module(frame).startswith('mmengine.')]
    # What `custom_imports` names runs below mmengine.utils.misc: its errors are bugs there.
    inside = ('mmengine.config', 'mmengine.utils.path')
    if not engine or not _module(stack[engine[-1]][0]).startswith(inside):
        return None
    reading = [frame for frame, _ in stack if _module(frame).startswith('mmengine.config')]
    files = [frame.f_locals['filename'] for frame in reading if 'filename' in frame.f_locals]
    text = _text(error)
    if isinstance(error, ImportError):  # mmengine's text lists the whole sys.path
        while error.__cause__ or error.__context__:
            error = error.__cause__ or error.__context__
        return f'custom_imports: {error}. Modules beside the config and installed ones are found.'
    if isinstance(error, FileNotFoundError):
        missing = Path(error.filename or re.findall('"(.+)"', text)[-1])
        near = did_you_mean(missing.name, (path.name for path in missing.parent.glob('*.*')))
        return f'its _base_ {missing} does not exist.{near}'
    base = re.search(r'from ((\w+)\.configs[.\w]*) import', text)
    if base and 'not found' in text:
        return (
            f'read_base: {base[1]} is not there. A wheel of {base[2]} leaves its Python-style '
            f'configs out; a checkout of it (pip install -e) has them. The others are there: '
            f"_base_ = '{base[2]}::FOLDER/NAME.py'."
        )
    line = None
    if isinstance(error, SyntaxError):
        line, text = error.lineno, f'{error.msg}: {(error.text or "").strip()}'
    elif len(stack) > engine[-1] + 1:
        line = stack[engine[-1] + 1][1]
    where = f'{Path(files[-1]).name}, line {line}: ' if files and line else ''
    return f'{where}{type(error).__name__}: {text}'


def explain_building(error: BaseException) -> str | None:
    """Say which component of a config mmengine could not build, and why.

    Returns:
        The type or argument, what is near it, and the component's dict; None if the error is
        not about the config.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames:
        return None
    last, module = frames[-1], _module(frames[-1])
    if isinstance(error, ImportError) and module == 'mmengine.config.lazy':
        return f'config: {error}.'
    built = [frame.f_locals for frame in frames if frame.f_code is build_from_cfg.__code__]
    if isinstance(error, (KeyError, RuntimeError)) and (
        module.startswith('mmcv.cnn.bricks.') or module == 'mmengine.registry.build_functions'
    ):
        registry = last.f_locals.get('registry')
        names = (last.f_locals.get(key) for key in ('obj_type', 'layer_type', 'padding_type'))
        name = next(filter(None, names), None)
        return _unknown_type(name, registry) if isinstance(name, str) else None
    if isinstance(error, TypeError) and built and inspect.isclass(built[-1].get('obj_cls')):
        return _bad_argument(_text(error), built[-1]['obj_cls'], built[-1]['cfg'])
    return None


def _unknown_type(name: str, registry: Registry) -> str:
    scope, _, bare = name.rpartition('.')
    members = [(child.scope, key) for child in _family(registry.root) for key in child.module_dict]
    full = {f'{place}.{key}' for place, key in members}
    here = {key for place, key in members if place in (registry.scope, 'mmengine')}
    near = (
        did_you_mean(name, full) if scope else did_you_mean(bare, here) or did_you_mean(bare, full)
    )
    where = f'of {scope or registry.scope}'
    if scope and scope not in {place for place, _ in members}:
        where = f': {scope!r} is no package with registries'
    return f'config: type={name!r} is not a registered {registry.name} {where}.{near}'


def _family(registry: Registry) -> Iterable[Registry]:
    yield registry
    for child in registry.children.values():
        yield from _family(child)


def _bad_argument(text: str, component: type, cfg: dict[str, Any]) -> str | None:
    """Word the TypeError of a call whose arguments come from the config."""
    called = re.match(r'(?:.*\.)?(\w+)\.__init__\(\) ', text)
    if called is None or called[1] not in {base.__name__ for base in component.__mro__}:
        return None
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", text)
    shown = f'{component.__name__} of {component.__module__}'
    if unexpected and unexpected[1] in cfg:
        accepted = sorted(accepted_arguments(component))
        near = did_you_mean(unexpected[1], accepted)
        return (
            f'config: {shown} takes no argument {unexpected[1]!r} '
            f'(={cfg[unexpected[1]]!r}).{near} It takes: {", ".join(accepted)}.'
        )
    missing = re.search(r'missing \d+ required .*?arguments?: (.+)', text)
    return f'config: {shown} needs {missing[1]}; given is {dict(cfg)}.' if missing else None


def accepted_arguments(component: type) -> set[str]:
    """Names of the arguments of a class and of those it inherits from."""
    makers = [
        vars(base)[name]
        for base in component.__mro__[:-1]
        for name in ('__new__', '__init__')
        if name in vars(base)
    ]
    parameters = (each for maker in makers for each in inspect.signature(maker).parameters.values())
    named = {
        each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    return named - {'self', 'cls'}


def _module(frame: FrameType) -> str:
    return frame.f_globals.get('__name__') or ''


def _text(error: BaseException) -> str:
    # str() of a KeyError is in quotes.
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
