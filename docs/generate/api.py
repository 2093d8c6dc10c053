"""The API reference: a page for each package, from the docstrings."""

import importlib
import pkgutil
import re
from types import ModuleType

import mmattn


def modules() -> list[str]:
    """Every module that has a docstring and no underscore in its name."""
    found = ['mmattn']
    for info in pkgutil.walk_packages(mmattn.__path__, 'mmattn.'):
        if not any(part.startswith('_') for part in info.name.split('.')):
            found.append(info.name)
    return found


def pages() -> dict[str, str]:
    """A page for each package of the top level, with all modules below it."""
    groups: dict[str, list[str]] = {}
    for name in modules():
        groups.setdefault('.'.join(name.split('.')[:2]), []).append(name)
    names = '\n'.join(sorted(groups))
    out = {'api/index.md': f'# API reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n'}
    for group, members in groups.items():
        parts = [f'# {group}']
        for name in members:
            title = [] if name == group else [f'## {name}']
            directive = f'```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n'
            parts += [*title, f'{directive}   :show-inheritance:\n```']
        out[f'api/{group}.md'] = '\n\n'.join(parts) + '\n'
    return out


def literal(app, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """A formula is not reStructuredText: it is shown as it stands."""
    inside = False
    for i, line in enumerate(lines):
        if re.fullmatch(r'(Formula|Example|Examples):', line):
            inside = True
            lines[i] = '.. rubric:: ' + line[:-1]
    del inside
