"""Printing what is known of a data set, and what of it lies in a folder."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from mmattn.datasets.guides import Guide, guides


def print_data_sets() -> int:
    """List the data sets; returns 0."""
    console = Console()
    names = ('name', 'what', 'download', 'default folder', 'there')
    columns = [Column(name, overflow='fold') for name in names]
    table = Table(*columns, title='Data sets of the shipped configs', title_justify='left')
    for each in guides().values():
        there = 'yes' if Path(each.root).is_dir() else ''
        table.add_row(each.name, escape(each.title), escape(each.size), each.root, there)
    console.print(table)
    console.print('python -m mmattn data NAME: the source, the expected files, and what is there')
    return 0


def print_data_set(guide: Guide, data_root: str | None = None) -> int:
    """Print where a data set comes from, and count what is in its folder (default: its root).

    Returns:
        0 if everything that the shipped configs need is there, else 1.
    """
    console = Console()
    root = Path(data_root or guide.root).expanduser()
    # Uncut and unwrapped, so that addresses and commands can be copied.
    show = partial(console.print, markup=False, soft_wrap=True, highlight=False)
    show(guide.layout)
    show(f'  download: {guide.size}')
    if not root.is_dir():
        show(
            f'\nDATA_ROOT {root} is not there (looked for in {root.absolute()}); --data-root DIR '
            'names another folder, here and in tools/train.py.'
        )
        return 1
    numbers = (Column(name, justify='right') for name in ('expected', 'found'))
    title = f'\nDATA_ROOT = {escape(str(root))}'
    table = Table('what', *numbers, '', title=title, title_justify='left')
    complete = True
    for part in guide.contents:
        found = part.count(root)
        verdict = _verdict(found, part.expected, part.needed)
        complete = complete and (verdict == 'ok' or not part.needed)
        expected = 'any' if part.expected is None else f'{part.expected:,}'
        table.add_row(part.what, expected, f'{found:,}', verdict)
    console.print(table)
    console.print('complete' if complete else 'incomplete')
    return 0 if complete else 1


def _verdict(found: int, expected: int | None, needed: bool) -> str:
    if found == expected or (found and expected is None):
        return 'ok'
    if not found:
        return 'missing' if needed else 'not there, not needed'
    return 'too few' if found < expected else 'too many'
