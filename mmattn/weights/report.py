"""What a conversion mapped, left out and added, as a table; and the config to load it with."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from mmattn.weights.convert import Conversion

# The parameters and buffers of a layer, which need no row of their own.
PARTS = r'\.(weight|bias|running_mean|running_var|num_batches_tracked)$'
WIDTH = 100
# Numbers of stages and blocks, not those in the names of layers.
NUMBERS = r'(?<=layer)\d(?=[._])|(?<=stage_)\d(?=\.)|(?<=block_)\d+(?=\.)|(?<=\.)\d+(?=\.)'


def report_table(conversion: Conversion, title: str) -> Table:
    """One row a kind of layer; ``*`` stands for any number."""
    table = Table(title=escape(title), title_justify='left')
    table.add_column('key in the file', overflow='fold')
    table.add_column('key in mmattn', overflow='fold')
    table.add_column('tensors', justify='right')
    sections = {
        'mapped': conversion.mapped.items(),
        'left out': [(key, f'({why})') for key, why in conversion.left_out.items()],
        'missing': [('', '*.num_batches_tracked (set to 0)') for _ in conversion.added],
    }
    for name, pairs in sections.items():
        counts = Counter((_pattern(old), _pattern(new)) for old, new in pairs)
        for (old, new), count in counts.items():
            table.add_row(escape(old), escape(new), f'{count:,}')
        table.add_row(name, '', f'{len(pairs):,}', style='bold', end_section=True)
    return table


def _pattern(name: str) -> str:
    """layer1.0.bn1.weight -> layer*.*.bn1"""
    return re.sub(NUMBERS, '*', re.sub(PARTS, '', name))


def config_text(conversion: Conversion, checkpoint: str) -> str:
    """The config that loads the converted file, ready to be pasted."""
    init = dict(type='Pretrained', checkpoint=checkpoint)
    model = {**conversion.config, 'init_cfg': init}
    if 'backbone' not in model:
        model = dict(backbone=model)
    imports = dict(imports=['mmattn'], allow_failed_imports=False)
    return f'custom_imports = {_code(imports)}\nmodel = {_code(model)}\n'


def _code(value: Any, indent: int = 0) -> str:
    """A config's value as Python, on one line where it fits."""
    if isinstance(value, Mapping):
        items = [f'{key}={{}}' for key in value]
        values, brackets = list(value.values()), ('dict(', ')')
    elif isinstance(value, (list, tuple)):
        items, values = ['{}'] * len(value), list(value)
        brackets = '[]' if isinstance(value, list) else ('(', ',)' if len(value) == 1 else ')')
    else:
        return repr(value)
    line = ', '.join(
        item.format(_code(each, -WIDTH)) for item, each in zip(items, values, strict=True)
    )
    if indent + len(line) + len('attention=dict(),') <= WIDTH:
        return f'{brackets[0]}{line}{brackets[1]}'
    inner = indent + 4
    lines = [
        ' ' * inner + item.format(_code(each, inner)) + ',\n'
        for item, each in zip(items, values, strict=True)
    ]
    return f'{brackets[0]}\n{"".join(lines)}{" " * indent}{brackets[1][-1]}'
