#!/usr/bin/env python
"""Write docs/attention.md from the registry and the docstrings.

One source for users and for the page: a module's docstring names the paper, what
it was checked against and the deviations, a class's docstring the formula and
its own arguments, Attention's those that several have. Only the checkout that this
file lies in is written.
"""

import argparse
import inspect
import re
import sys
import textwrap
from pathlib import Path

import torch

# The checkout's own mmattn, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmattn.analysis.operators import count
from mmattn.analysis.tables import markdown_table
from mmattn.attention import Attention
from mmattn.attention.listing import one_line, summary
from mmattn.attention.names import attention_names, find_attention
from mmattn.backbones.resnet import Bottleneck
from mmattn.utils.files import write_whole

PAGE = Path(__file__).with_name('attention.md')
CHANNELS, SIZE = 256, 56
INTRO = f"""# Attention

Written by `python docs/attention_page.py`; do not edit.

Every attention is a plain `nn.Module`, (N, C, H, W) -> (N, C, H, W) with any H and W from 1, built
from the number of channels: `from mmattn.attention import SCSA; SCSA(256)`. In a backbone it is
`attention=dict(type='SCSA')`, in a stock mmdet or mmseg ResNet
`plugins=[dict(cfg=dict(type='mmattn.SCSA'), position='after_conv2')]`, on a neck
`dict(type='mmattn.AttentionNeck', neck=..., attention=dict(type='SCSA'))`.

All take `warm_start` (False): the output becomes x + warm_scale * (attention(x) - x) with the
learned scalar warm_scale at 0, so that a network with stock weights starts with its stock outputs.
It costs one parameter, two elementwise passes over x and one saved activation; weight decay on
warm_scale draws the attention towards the identity. In the first step only warm_scale has a
gradient.

Parameters and operations are for C = {CHANNELS} at {SIZE} x {SIZE}, counted as in
`tools/analysis_tools/complexity.py`: the multiply-adds of convolutions, linear layers and norms,
which is what mmengine counts, and what it leaves out (sigmoids, products, means, fused attention).
Places are those in a Bottleneck; in a BasicBlock each is after the second norm.
"""

PICTURE = """![What each attention lets pass on an image of blood cells](images/attention_maps.png)

*The share of the features that each attention lets pass, relative to its mean over the image (BCCD,
MIT licence): red is emphasised, blue held back. Each was trained for 120 iterations in the second
stage of a ResNet-18 to tell the cells from the background:*
`python benchmarks/attention_maps.py --data-root BCCD --out docs/images/attention_maps.png`
"""


def render() -> str:
    """The page as Markdown."""
    rows, sections = [], []
    for name in attention_names():
        cls = find_attention(name)
        place = Bottleneck.default_positions[cls.placement]
        counts = [f'{number:,}' for number in complexity(cls)]
        rows.append([f'[{name}](#{name.lower()})', summary(cls), place, *counts])
        sections.append(_section(name, cls, place))
    header = ['attention', 'summary', 'place', 'parameters', 'multiply-adds', 'left out']
    table = markdown_table(header, rows, left=3)
    return '\n'.join([INTRO, table, PICTURE, '\n\n'.join(sections), ''])


def complexity(cls: type[Attention]) -> tuple[int, int, int]:
    """Parameters, multiply-adds and other operations at C = 256, 56 x 56."""
    module = cls(CHANNELS, **cls.slot_defaults(0)).eval()
    operations = count(module, torch.zeros(1, CHANNELS, SIZE, SIZE))[1]
    parameters = sum(p.numel() for p in module.parameters())
    return parameters, operations.flops, operations.left_out.total()


def _section(name: str, cls: type[Attention], place: str) -> str:
    source = inspect.cleandoc(sys.modules[cls.__module__].__doc__)
    formula = _part(cls, 'Formula')
    if not formula:
        raise ValueError(f"the docstring of {name} has no section 'Formula'")
    lines = [f'## {name}', '', f'```text\n{formula}\n```', '']
    lines.append(f'Place: `{place}`.')
    if cls(CHANNELS).any_dims:
        lines.append('Also takes (N, C, L) and (N, C, D, H, W).')
    defaults = cls.slot_defaults(0)
    if defaults:
        by_stage = [cls.slot_defaults(stage) for stage in range(4)]
        for key in defaults:
            values = ', '.join(str(stage[key]) for stage in by_stage)
            lines.append(f'In a backbone `{key}` is {values} by stage.')
    lines += ['', *(_arguments(cls)), '']
    for word in ('Paper', 'Place', 'Deviations'):
        match = re.search(rf'^({word}.*?)(?=\n\n|\Z)', source, re.S | re.M)
        if match:
            # The first line names our place already.
            lines += [one_line(match[1]).replace('Place:', 'Where the paper has it:'), '']
    return '\n'.join(lines).rstrip()


def _part(cls: type[Attention], title: str) -> str:
    match = re.search(rf'^{title}:\n((?:    .*\n?|\n)+)', inspect.getdoc(cls), re.M)
    return textwrap.dedent(match[1]).strip() if match else ''


def _arguments(cls: type[Attention]) -> list[str]:
    """A list item per argument of its own, with its default."""
    parameters = dict(inspect.signature(cls).parameters)
    del parameters['in_channels'], parameters['warm_start']
    lines = []
    for entry in re.split(r'\n(?=\S)', _part(cls, 'Args') + '\n' + _part(Attention, 'Args')):
        names, _, text = one_line(entry).partition(': ')
        keys = [name for name in names.split(', ') if name in parameters]
        if keys:
            shown = ', '.join(f'`{key}={parameters.pop(key).default!r}`' for key in keys)
            lines.append(f'- {shown}: {text}')
    if parameters:
        raise ValueError(f"no docstring describes {cls.__name__}'s {', '.join(parameters)}")
    return lines or ['No arguments but `in_channels` and `warm_start`.']


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit status."""
    argparse.ArgumentParser(description=__doc__.partition('\n\n')[0]).parse_args(argv)
    write_whole(PAGE, render())
    print(f'written: {PAGE}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
