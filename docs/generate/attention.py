"""A page for each attention, from its class, its docstrings and the results that are kept.

A module's docstring names the paper, what it was checked against and the deviations, a class's
docstring the formula and its own arguments, Attention's those that several have.
"""

import inspect
import json
import re
import sys
import textwrap
from functools import cache
from pathlib import Path

import torch

from generate.blocks import blocks, drawing, in_a_row
from generate.drawing import draw
from generate.flow import CHANNELS, record
from generate.formula import to_latex
from mmattn.analysis.operators import count
from mmattn.analysis.tables import markdown_table
from mmattn.attention import Attention
from mmattn.attention.listing import PLACES, one_line, summary
from mmattn.attention.names import attention_names, find_attention
from mmattn.backbones.resnet import Bottleneck

ROOT = Path(__file__).resolve().parents[2]
SPEED = ROOT / 'benchmarks' / 'results' / 'speed_cpu.json'
SIZE = 56
INTRO = f"""# Attention

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
Places are those in a Bottleneck; [all kinds of block](../blocks.md) have a page.
"""
PICTURE = """
## What each lets pass

![What each attention lets pass on an image of blood cells](../../images/attention_maps.png)

*The share of the features that each attention lets pass, relative to its mean over the image (BCCD,
MIT licence): red is emphasised, blue held back. Each was trained for 120 iterations in the second
stage of a ResNet-18 to tell the cells from the background:*
`python benchmarks/attention_maps.py --data-root BCCD --out docs/images/attention_maps.png`
"""
# Blocks whose drawing shows where an attention goes.
SHOWN = ('Bottleneck', 'BasicBlock', 'InvertedResidual', 'RepVGGBlock', 'SwinBlock')


def pages() -> dict[str, str]:
    """The page of each attention, and the one of all."""
    names = attention_names()
    out = {f'attention/{name.lower()}.md': page(name) for name in names}
    rows = []
    for name in names:
        cls = find_attention(name)
        place = f'`{Bottleneck.default_positions[cls.placement]}`'
        counts = [f'{number:,}' for number in complexity(cls)]
        rows.append([f'[{name}]({name.lower()}.md)', summary(cls), place, *counts])
    header = ['attention', 'summary', 'place', 'parameters', 'multiply-adds', 'left out']
    table = markdown_table(header, rows, left=3)
    tree = '\n'.join(name.lower() for name in names)
    toc = f'```{{toctree}}\n:hidden:\n\n{tree}\n```\n'
    sortable = f':::{{div}} sortable\n\n{table}\n:::\n'
    out['attention/index.md'] = '\n'.join([INTRO, sortable, PICTURE, toc])
    return out


@cache
def complexity(cls: type[Attention]) -> tuple[int, int, int]:
    """Parameters, multiply-adds and other operations at C = 256, 56 x 56."""
    module = cls(CHANNELS, **cls.slot_defaults(0)).eval()
    operations = count(module, torch.zeros(1, CHANNELS, SIZE, SIZE))[1]
    parameters = sum(p.numel() for p in module.parameters())
    return parameters, operations.flops, operations.left_out.total()


def page(name: str) -> str:
    """The page of an attention as Markdown."""
    cls = find_attention(name)
    formula = part(cls, 'Formula')
    if not formula:
        raise ValueError(f"the docstring of {name} has no section 'Formula'")
    steps = record(cls(CHANNELS, **cls.slot_defaults(1)).eval())
    svg = draw(steps, f'{name}: what it computes')
    sections = [
        f'# {name}\n\n{summary(cls)}.',
        f'```{{math}}\n{to_latex(formula)}\n```',
        _source(cls),
        f'## What it computes\n\n```{{raw}} html\n{svg}\n```\n\n'
        f'Recorded from a call with C = {CHANNELS}; sizes of one are left out of the shapes.',
        _places(name, cls),
        f'## Arguments\n\n{_arguments(cls)}',
        _cost(name, cls),
        _speed(name),
    ]
    return '\n\n'.join(filter(None, sections)) + '\n'


def part(cls: type[Attention], title: str) -> str:
    """A section of a class's docstring."""
    match = re.search(rf'^{title}:\n((?:    .*\n?|\n)+)', inspect.getdoc(cls), re.M)
    return textwrap.dedent(match[1]).strip() if match else ''


def _source(cls: type[Attention]) -> str:
    """Paper, implementation that it was checked against with its licence, and deviations."""
    text = inspect.cleandoc(sys.modules[cls.__module__].__doc__)
    found = {}
    for word in ('Paper', 'Place', 'Deviations'):
        if match := re.search(rf'^{word}(.*?)(?=\n\n|\Z)', text, re.S | re.M):
            found[word] = one_line(match[1]).lstrip(':')
    paper = re.sub(r'arXiv:(\d+\.\d+)', r'[arXiv:\1](https://arxiv.org/abs/\1)', found['Paper'])
    lines = [f':Paper: {paper.strip()}']
    if 'Place' in found:
        lines.append(f':Where the paper has it: {found["Place"].strip()}')
    lines.append(f':Deviations: {_inline(found["Deviations"])}')
    lines.append(
        ':Checked by: `tests/test_attention/test_goldens.py`, outputs and gradients of that '
        'implementation to 1e-4, with its own weights'
    )
    return '\n'.join(lines)


def _inline(text: str) -> str:
    """Items of a list as sentences of one paragraph."""
    before, *items = re.split(r'\n\s*- ', text.strip())
    return ' '.join([before, *items]).strip()


def _places(name: str, cls: type[Attention]) -> str:
    position = Bottleneck.default_positions[cls.placement]
    kinds = {kind.__name__: (kind, chain) for kind, (chain, _) in blocks().items()}
    figures = [drawing(*kinds[shown], cls.placement) for shown in SHOWN]
    lines = [
        '## In a network',
        f'```python\n{config(name)}\n```',
        f'It goes {PLACES[cls.placement]}, in a Bottleneck to `{position}`; `position`, `stages` '
        'and `blocks` in the same dict choose other places. Dark orange is its place, orange are '
        'the other positions.',
        in_a_row(figures),
        '[Every kind of block](../blocks.md); [any other network](../../how_to/any_network.md).',
    ]
    if cls(CHANNELS).any_dims:
        lines.insert(3, 'It also takes (N, C, L) and (N, C, D, H, W).')
    if defaults := cls.slot_defaults(0):
        by_stage = [cls.slot_defaults(stage) for stage in range(4)]
        for key in defaults:
            values = ', '.join(str(stage[key]) for stage in by_stage)
            lines.insert(3, f'In a backbone `{key}` is {values} by stage unless the dict says it.')
    return '\n\n'.join(lines)


def config(name: str) -> str:
    """A config of a detector with this attention, that starts from stock weights."""
    return (
        "_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py']\n"
        "custom_imports = dict(imports=['mmattn'], allow_failed_imports=False)\n"
        'model = dict(backbone=dict(\n'
        f"    type='mmattn.ResNet', attention=dict(type='{name}', warm_start=True)))"
    )


def _arguments(cls: type[Attention]) -> str:
    """A list item per argument of its own, with its default."""
    parameters = dict(inspect.signature(cls).parameters)
    del parameters['in_channels'], parameters['warm_start']
    lines = []
    for entry in re.split(r'\n(?=\S)', part(cls, 'Args') + '\n' + part(Attention, 'Args')):
        names, _, text = one_line(entry).partition(': ')
        keys = [name for name in names.split(', ') if name in parameters]
        if keys:
            shown = ', '.join(f'`{key}={parameters.pop(key).default!r}`' for key in keys)
            lines.append(f'- {shown}: {text}')
    if parameters:
        raise ValueError(f"no docstring describes {cls.__name__}'s {', '.join(parameters)}")
    return '\n'.join(lines) or 'None but `in_channels` and `warm_start`.'


def _cost(name: str, cls: type[Attention]) -> str:
    from generate.zoo import sizes_of  # rows of the zoo: networks with this attention

    parameters, flops, others = complexity(cls)
    text = (
        f'## Cost\n\nAt C = {CHANNELS}, {SIZE} x {SIZE}: {parameters:,} parameters, {flops:,} '
        f'multiply-adds and {others:,} other operations.'
    )
    rows = [
        [f'`{size.config}`', f'{size.params / 1e6:.3f}', f'{size.flops / 1e9:.3f}']
        for size in sizes_of(name)
    ]
    if rows:
        header = ['in', 'parameters (M)', 'multiply-adds (G)']
        text += f'\n\n{markdown_table(header, rows, left=1)}'
    return text.rstrip()


@cache
def _measured() -> dict:
    return json.loads(SPEED.read_text(encoding='utf-8'))


def _speed(name: str) -> str:
    """Times of the module, and of networks with it, where they have been measured."""
    about, head = _measured()['modules'], '## Speed'
    own = [row for row in about['rows'] if row['attention'] == name]
    rows = [
        [' x '.join(map(str, row['shape'])), row['layout'], row['step']]
        + [f'{1000 * row["seconds"][way][0]:.3g}' for way in ('auto', 'pure', 'literal')]
        + [f'{row["ratio"]["auto"][0]:.2f}']
        for row in own
    ]
    if not rows:
        return (
            f'{head}\n\nNot measured yet: '
            f'`python benchmarks/speed.py --parts modules --attention {name}`.'
        )
    header = ['map', 'layout', 'step', 'kernels (ms)', 'pure (ms)', 'literal (ms)', 'ratio']
    text = [
        head,
        f'{about["device"]}, torch {about["torch"]}, {own[0].get("date", about["date"])}: medians. '
        "Ratio: time of the literal implementation of the paper's formula over ours with the "
        'kernels.',
        markdown_table(header, rows, left=3).rstrip(),
    ]
    networks = [
        [f'`{row["config"]}`', row['step'], row['layout'], row['kernels'], f'{row["ratio"][0]:.2f}']
        for row in _measured()['networks']['rows']
        if row['attention'] == name
    ]
    if networks:
        header = ['network with it', 'step', 'layout', 'kernels', "of the plain network's speed"]
        text.append(markdown_table(header, networks, left=4).rstrip())
    text.append('By `python benchmarks/speed.py`.')
    return '\n\n'.join(text)
