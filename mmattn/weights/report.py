"""What a conversion mapped, left out and added, as a table; and the config to load it with."""

import re
from collections.abc import Iterable, Mapping
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
    for (old, new), count in _grouped(conversion.mapped.items()).items():
        table.add_row(escape(old), escape(new), f'{count:,}')
    table.add_row('mapped', '', f'{len(conversion.mapped):,}', style='bold', end_section=True)
    for (old, why), count in _grouped(conversion.left_out.items()).items():
        table.add_row(escape(old), escape(f'({why})'), f'{count:,}')
    table.add_row('left out', '', f'{len(conversion.left_out):,}', style='bold', end_section=True)
    if conversion.added:
        table.add_row('', '*.num_batches_tracked (set to 0)', f'{len(conversion.added):,}')
    table.add_row('missing', '', f'{len(conversion.added):,}', style='bold')
    return table


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for pair in pairs:
        old, new = (_pattern(name) for name in pair)
        counts[old, new] = counts.get((old, new), 0) + 1
    return counts


def _pattern(name: str) -> str:
    """layer1.0.bn1.weight -> layer*.*.bn1"""
    name = re.sub(PARTS, '', name)
    return re.sub(NUMBERS, '*', name)


def config_text(conversion: Conversion, checkpoint: str) -> str:
    """The config that loads the converted file, ready to be pasted."""
    init = dict(type='Pretrained', checkpoint=checkpoint)
    if 'backbone' in conversion.config:
        model = {**conversion.config, 'init_cfg': init}
    else:
        model = dict(backbone={**conversion.config, 'init_cfg': init})
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
