"""The page docs/attention.md, written from the registry and the docstrings.

One source for users and for the page: a module's docstring names the paper, what
it was checked against and the deviations, a class's docstring the formula and
the arguments.
"""

import inspect
import math
import re
import sys
import textwrap

import torch
from mmengine.analysis import FlopAnalyzer
from rich.console import Console
from rich.table import Table

from mmattn.attention import Attention
from mmattn.attention.names import attention_names, find_attention
from mmattn.backbones.resnet import Bottleneck

CHANNELS, SIZE = 256, 56
INTRO = f"""# Attention

Written by `python -m mmattn attention --write docs/attention.md`; do not edit.

Every attention is a plain `nn.Module`, (N, C, H, W) -> (N, C, H, W) with any H and W from 1, built
from the number of channels: `from mmattn.attention import SCSA; SCSA(256)`. In a backbone it is
`attention=dict(type='SCSA')`, in a stock mmdet or mmseg ResNet
`plugins=[dict(cfg=dict(type='mmattn.SCSA'), position='after_conv2')]`, on a neck
`dict(type='mmattn.AttentionNeck', neck=..., attention=dict(type='SCSA'))`.

All take `warm_start` (False): the output becomes x + gamma * (attention(x) - x) with the learned
scalar gamma at 0, so that a network with stock weights starts with its stock outputs. It costs one
parameter, two elementwise passes over x and one saved activation; weight decay on gamma draws the
attention towards the identity. In the first step only gamma has a gradient.

Parameters and multiply-adds (what mmengine counts: no sigmoid, product or softmax) are for
C = {CHANNELS} at {SIZE} x {SIZE}. Places are those in a Bottleneck; in a BasicBlock each is after
the second norm.
"""

PICTURE = """![What each attention lets pass on an image of blood cells](images/attention_maps.png)

*The share of the features that each attention lets pass, relative to its mean over the image (BCCD,
MIT licence): red is emphasised, blue held back. Each was trained for 120 iterations in the second
stage of a ResNet-18 to tell the cells from the background:*
`python benchmarks/attention_maps.py --data-root BCCD --out docs/images/attention_maps.png`
"""


def render() -> str:
    """The page as Markdown."""
    names = attention_names()
    rows = [
        '| attention | summary | place | parameters | multiply-adds |',
        '| --- | --- | --- | ---: | ---: |',
    ]
    sections = []
    for name in names:
        cls = find_attention(name)
        parameters, operations = complexity(cls)
        place = Bottleneck.default_positions[cls.placement]
        summary = _summary(cls)
        link = f'[{name}](#{name.lower()})'
        rows.append(f'| {link} | {summary} | {place} | {parameters:,} | {operations:,} |')
        sections.append(_section(name, cls, place))
    return '\n'.join([INTRO, *rows, '', PICTURE, '\n\n'.join(sections), ''])


def print_table() -> None:
    """All attentions in the terminal."""
    table = Table('attention', 'what it does', 'place', 'arguments')
    for name in attention_names():
        cls = find_attention(name)
        keys = [
            key
            for key in inspect.signature(cls).parameters
            if key not in ('in_channels', 'warm_start')
        ]
        place = Bottleneck.default_positions[cls.placement]
        table.add_row(name, _summary(cls), place, ', '.join(keys))
    Console().print(table)


def complexity(cls: type[Attention]) -> tuple[int, int]:
    """Parameters and multiply-adds of an attention at C = 256, 56 x 56."""
    module = cls(CHANNELS, **cls.slot_defaults(0)).eval()
    counter = FlopAnalyzer(module, (torch.zeros(1, CHANNELS, SIZE, SIZE),))
    counter.set_op_handle('aten::scaled_dot_product_attention', _count_attention)
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        operations = int(counter.total())
    return sum(p.numel() for p in module.parameters()), operations


def _count_attention(inputs: list, outputs: list) -> int:
    """Multiply-adds of softmax(q k^T) v, which mmengine's counter does not know."""
    query, key, value = (inputs[index].type().sizes() for index in range(3))
    rows = math.prod(query[:-1])
    return rows * key[-2] * (query[-1] + value[-1])


def _section(name: str, cls: type[Attention], place: str) -> str:
    source = inspect.cleandoc(sys.modules[cls.__module__].__doc__)
    lines = [f'## {name}', '', _part(cls, 'Formula', code=True), '']
    lines.append(f'Place: `{place}`.')
    defaults = cls.slot_defaults(0)
    if defaults:
        by_stage = [cls.slot_defaults(stage) for stage in range(4)]
        for key in defaults:
            values = ', '.join(str(stage[key]) for stage in by_stage)
            lines.append(f'In a backbone `{key}` is {values} by stage.')
    lines += ['', *(_arguments(cls)), '']
    for word in ('Paper', 'Deviations'):
        match = re.search(rf'^({word}.*?)(?=\n\n|\Z)', source, re.S | re.M)
        if match:
            lines += [_flow(match[1]), '']
    return '\n'.join(lines).rstrip()


def _summary(cls: type[Attention]) -> str:
    return _flow(inspect.getdoc(cls).split('\n\n')[0]).rstrip('.')


def _part(cls: type[Attention], title: str, code: bool = False) -> str:
    match = re.search(rf'^{title}:\n((?:    .*\n?|\n)+)', inspect.getdoc(cls), re.M)
    if match is None:
        raise ValueError(f'the docstring of {cls.__name__} has no section {title!r}')
    text = textwrap.dedent(match[1]).strip()
    return f'```text\n{text}\n```' if code else text


def _arguments(cls: type[Attention]) -> list[str]:
    """A list item per argument, with its default."""
    lines = []
    parameters = inspect.signature(cls).parameters
    for entry in re.split(r'\n(?=\S)', _part(cls, 'Args')):
        names, _, text = _flow(entry).partition(': ')
        keys = [name.strip() for name in names.split(',')]
        if keys == ['in_channels'] or keys == ['warm_start']:
            continue
        shown = ', '.join(f'`{key}={parameters[key].default!r}`' for key in keys)
        lines.append(f'- {shown}: {text}')
    return lines or ['No arguments but `in_channels` and `warm_start`.']


def _flow(text: str) -> str:
    """One line per paragraph and per list item."""
    text = re.sub(r':class:`(\w+)`', r'`\1`', text).replace('``', '`')
    return re.sub(r'\s*\n\s*(?!- )', ' ', text.strip())
