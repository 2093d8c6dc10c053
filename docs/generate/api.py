"""The API reference: a page for each package, from the docstrings."""

import pkgutil
import re

import mmattn


def modules() -> dict[str, bool]:
    """Every public module -> whether it is a package."""
    found = {'mmattn': True}
    for info in pkgutil.walk_packages(mmattn.__path__, 'mmattn.'):
        if not any(part.startswith('_') for part in info.name.split('.')):
            found[info.name] = info.ispkg
    return found


def pages() -> dict[str, str]:
    """A page for each package of the top level, with all modules below it."""
    groups: dict[str, list[str]] = {}
    packages = modules()
    for name in packages:
        groups.setdefault('.'.join(name.split('.')[:2]), []).append(name)
    names = '\n'.join(sorted(groups))
    out = {'api/index.md': f'# API reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n'}
    for group, members in groups.items():
        parts = [f'# {group}']
        for name in members:
            parts += [] if name == group else [f'## {name}']
            options = ['members', 'show-inheritance']
            # A package's names are shown where they are defined.
            options += ['ignore-module-all'] if packages[name] else []
            lines = [f'.. automodule:: {name}', *(f'   :{option}:' for option in options)]
            parts.append('```{eval-rst}\n' + '\n'.join(lines) + '\n```')
        out[f'api/{group}.md'] = '\n\n'.join(parts) + '\n'
    return out


def docstring(app, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """What of our docstrings is not reStructuredText, made so: formulas, lists, vertical bars."""
    out, formula = [], False
    for line in lines:
        if formula and line.strip() and not line.startswith(' '):
            formula = False
        item, before = re.match(r'\s*[-*] ', line), out[-1] if out else ''
        starts = item and before.strip() and not re.match(r'\s*[-*] |\s{2,}\S', before)
        if starts and not formula:
            out.append('')
        indent = '    ' if formula else ''
        out.append(indent + (line if formula or line.startswith('    >') else bars(line)))
        if line == 'Formula:':
            formula = True
            out += ['    ::', '']
    lines[:] = out


def bars(line: str) -> str:
    """A line whose vertical bars, outside of code, are themselves."""
    parts = line.split('``')
    parts[::2] = [part.replace('|', r'\|') for part in parts[::2]]
    return '``'.join(parts)
