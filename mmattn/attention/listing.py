"""All attentions as a table in the terminal."""

import inspect
import re

from rich.console import Console
from rich.table import Column, Table

from mmattn.attention.base import Attention
from mmattn.attention.names import attention_names, find_attention

# ``Attention.placement`` in words.
PLACES = {
    'inner': 'inside of the block',
    'before_norm': 'in front of a norm',
    'outer': "on the block's output",
}


def print_table() -> None:
    """Print what each attention does, where the paper puts it, and its arguments."""
    table = Table(
        Column('attention', no_wrap=True),
        'what it does',
        'place',
        Column('arguments', overflow='fold'),
    )
    for name in attention_names():
        cls = find_attention(name)
        arguments = [
            key
            for key in inspect.signature(cls).parameters
            if key not in ('in_channels', 'warm_start')
        ]
        table.add_row(name, summary(cls), PLACES[cls.placement], ', '.join(arguments))
    Console().print(table)


def summary(cls: type[Attention]) -> str:
    """The first sentence of the class's docstring, on one line."""
    text = inspect.cleandoc(cls.__doc__ or '').partition('\n\n')[0]
    return one_line(text).rstrip('.')


def one_line(text: str) -> str:
    """One line per paragraph and per list item, in Markdown."""
    text = re.sub(r':class:`(\w+)`', r'`\1`', text).replace('``', '`')
    return re.sub(r'\s*\n\s*(?!- )', ' ', text.strip())
