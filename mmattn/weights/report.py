"""What a conversion mapped, left out and added, as a table; and the config to load it with."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from yapf.yapflib.yapf_api import FormatCode

from mmattn.weights.convert import Conversion

# The parameters and buffers of a layer, which need no row of their own.
PARTS = r'\.(weight|bias|running_mean|running_var|num_batches_tracked)$'
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
    text = f'custom_imports = {_code(imports)}\nmodel = {_code(model)}\n'
    return FormatCode(text, style_config=dict(based_on_style='facebook', column_limit=100))[0]


def _code(value: Any) -> str:
    """A config's value as Python, with dict() for dicts."""
    if isinstance(value, Mapping):
        return f'dict({", ".join(f"{key}={_code(each)}" for key, each in value.items())})'
    if isinstance(value, list):
        return f'[{", ".join(map(_code, value))}]'
    return repr(value)
