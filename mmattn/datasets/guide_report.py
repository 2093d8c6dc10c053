"""Printing what is known of a data set, and what of it lies in a folder."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmattn.datasets.guides import Guide, guides


def print_data_sets(console: Console | None = None) -> int:
    """List the data sets; returns 0."""
    console = console or Console()
    table = Table(title='Data sets of the shipped configs', title_justify='left')
    for column in ('name', 'what', 'download', 'default folder', 'there'):
        table.add_column(column, overflow='fold')
    for each in guides().values():
        there = 'yes' if Path(each.root).is_dir() else ''
        table.add_row(each.name, escape(each.title), escape(each.size), each.root, there)
    console.print(table)
    console.print('python -m mmattn data NAME: the source, the expected files, and what is there')
    return 0


def print_data_set(
    guide: Guide, data_root: str | None = None, console: Console | None = None
) -> int:
    """Print where a data set comes from and count what is there.

    Args:
        guide: That of the data set.
        data_root: Its folder; the default of the shipped configs unless told.
        console: Where to print.

    Returns:
        0 if everything that the shipped configs need is there, else 1.
    """
    console = console or Console()
    root = Path(data_root or guide.root).expanduser()
    # Uncut and unwrapped, so that addresses and commands can be copied.
    console.print(guide.layout, markup=False, soft_wrap=True, highlight=False)
    console.print(f'  download: {guide.size}', markup=False, highlight=False)
    if not root.is_dir():
        console.print(
            f'\nDATA_ROOT {root} is not there (looked for in {root.absolute()}); --data-root DIR '
            'names another folder, here and in tools/train.py.',
            markup=False,
            soft_wrap=True,
            highlight=False,
        )
        return 1
    table = Table(title=f'\nDATA_ROOT = {escape(str(root))}', title_justify='left')
    table.add_column('what')
    table.add_column('expected', justify='right')
    table.add_column('found', justify='right')
    table.add_column('')
    complete = True
    for part in guide.contents:
        found = part.count(root)
        verdict = _verdict(found, part.expected, part.needed)
        complete = complete and (verdict == 'ok' or not part.needed)
        table.add_row(part.what, f'{part.expected:,}', f'{found:,}', verdict)
    console.print(table)
    console.print('complete' if complete else 'incomplete')
    return 0 if complete else 1


def _verdict(found: int, expected: int, needed: bool) -> str:
    if found == expected:
        return 'ok'
    if not found:
        return 'missing' if needed else 'not there, not needed'
    return 'too few' if found < expected else 'too many'
