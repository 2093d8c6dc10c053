#!/usr/bin/env python
"""Write docs/blocks.md and docs/images/blocks.png: each kind of block, and where attention goes.

    python docs/blocks_page.py

Each backbone is built with an attention at every position, and torch.fx follows its blocks: what
is drawn is what the code computes. Only the checkout that this file lies in is written.
"""

import operator
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt
import torch
from torch import fx, nn

# The checkout's own mmattn, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmattn  # noqa: F401
from mmattn.analysis.tables import markdown_table
from mmattn.attention import Attention
from mmattn.attention.listing import PLACES
from mmattn.backbones.slots import AttentionBlock
from mmattn.registry import MODELS
from mmattn.utils.files import write_whole

PAGE = Path(__file__).with_name('blocks.md')
PICTURE = Path(__file__).parent / 'images' / 'blocks.png'
DEPTHS = dict(ResNet=50, ResNetV1c=18, ResNeXt=50, Res2Net=50, SERes2Net=50)
DEPTHS |= dict(ResNetV1d=50, ResNetCIFAR=56, DenseNetCIFAR=100, Res2NetCIFAR=29, SERes2NetCIFAR=29)
JOINS = {operator.add: '+', operator.iadd: '+', torch.cat: 'concatenate', torch.add: '+'}
COLOURS = dict(slot='#ffd9a8', join='#ffffff', layer='#e3ecf5')
INTRO = """# Blocks and their positions

Written by `python docs/blocks_page.py` from the code; do not edit.

`attention=dict(type='SCSA')` puts an attention where its paper does, `position='after_conv1'`
anywhere else. A block's branches run from top to bottom, curves pass over what lies between
their ends. In orange the positions, with the kinds of attention that are there unless `position`
says otherwise (`python -m mmattn attention` tells the kind of each).

![Every kind of block](images/blocks.png)

"""


@dataclass(frozen=True)
class Step:
    """A layer, an addition or a position, in the order in which they are computed."""

    label: str
    kind: str  # 'layer', 'join' or 'slot'
    sources: tuple[int, ...]  # numbers of the steps that it takes from
    default_of: tuple[str, ...] = ()  # placements of attention that a position is the default of


class Tracer(fx.Tracer):
    """Attention and torch's layers are whole; what a block splits, it takes all parts of."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        has_parts = any(True for _ in module.children())
        # What mmcv and mmpretrain compute inside is not a matter of positions.
        whole = type(module).__name__ in ('ShiftWindowMSA', 'FFN')
        return isinstance(module, Attention) or whole or not has_parts

    def iter(self, obj: fx.Proxy) -> Iterator:
        parts = range(self.root.scales)
        if obj.node.target is operator.getitem:
            parts = parts[obj.node.args[1]]
        return iter([obj[i] for i in range(len(parts))])


def blocks() -> dict[type[AttentionBlock], tuple[list[Step], list[str]]]:
    """Kind of block -> what it computes with an attention everywhere, and the networks with it."""
    found = {}
    for name in sorted(MODELS.names_in('mmattn.backbones'), key=str.lower):
        cfg = dict(type=name, **({'depth': DEPTHS[name]} if name in DEPTHS else {}))
        if name == 'RepVGG':
            cfg['arch'] = 'A0'
        plain = MODELS.build(dict(cfg))
        kinds = {type(m) for m in plain.modules() if isinstance(m, AttentionBlock)}
        for kind in sorted(kinds, key=lambda kind: kind.__name__):
            if kind not in found:
                entries = [dict(type='SimAM', position=position) for position in kind.positions]
                network = MODELS.build(dict(cfg, attention=entries))
                # A block in the middle, whose shortcut is the identity.
                alike = [m for m in network.modules() if type(m) is kind]
                found[kind] = steps(alike[len(alike) // 2]), []
            found[kind][1].append(name)
    return found


def steps(block: AttentionBlock) -> list[Step]:
    """What a block computes."""
    out, number = [], {}
    for node in Tracer().trace(block).nodes:
        sources = tuple(dict.fromkeys(i for one in node.all_input_nodes for i in number[one]))
        step = None
        if node.op == 'placeholder' and not out:  # those behind the first are the map's size
            step = Step('input', 'join', ())
        elif node.op == 'call_module':
            module = block.get_submodule(node.target)
            if isinstance(module, Attention):
                position = node.target.removeprefix('attn_')
                default_of = [
                    kind for kind, own in block.default_positions.items() if own == position
                ]
                step = Step(position, 'slot', sources, tuple(default_of))
            elif label := describe(module):
                step = Step(label, 'layer', sources)
        elif node.target in JOINS:
            step = Step(JOINS[node.target], 'join', sources)
        if step is None:  # a change of the shape, or a layer that does nothing
            number[node] = sources
        else:
            number[node] = (len(out),)
            out.append(step)
    return out


def describe(module: nn.Module) -> str:
    """A layer in few words; '' for one that does nothing."""
    name = type(module).__name__
    if isinstance(module, nn.Conv2d):
        depthwise = module.groups == module.in_channels > 1
        kind = 'depthwise ' if depthwise else 'grouped ' if module.groups > 1 else ''
        return f'{kind}{"x".join(map(str, module.kernel_size))} conv'
    if isinstance(module, (nn.Identity, nn.Dropout)) or name == 'DropPath':
        return ''
    known = {'ShiftWindowMSA': 'window attention', 'FFN': 'FFN, + its input'}
    return known.get(name, name.removesuffix('2d'))


def lines(step: Step) -> str:
    return '\n'.join([step.label, ', '.join(step.default_of)]).strip()


def draw(kinds: dict[type[AttentionBlock], list[Step]]) -> None:
    rows = 2
    width = -(-len(kinds) // rows)
    fig, axes = plt.subplots(rows, width, figsize=(3.1 * width, 19), height_ratios=[1.6, 1])
    longest = sorted(kinds.items(), key=lambda item: -len(item[1]))
    for ax, (kind, chain) in zip(axes.flat, longest, strict=False):
        ax.set_title(kind.__name__, fontsize=12)
        ax.set_xlim(-1, 2.5)
        ax.set_ylim(-len(chain) + 0.3, 0.7)
        ax.axis('off')
        style = dict(boxstyle='round,pad=0.3', ec='#445566', lw=0.8)
        boxes = [
            ax.text(0, -i, lines(step), ha='center', va='center', fontsize=9, zorder=3)
            for i, step in enumerate(chain)
        ]
        for box, step in zip(boxes, chain, strict=True):
            box.set_bbox(dict(style, fc=COLOURS[step.kind]))
    fig.tight_layout()
    fig.canvas.draw()
    for ax, (_, chain) in zip(axes.flat, longest, strict=False):
        boxes = [text.get_bbox_patch() for text in ax.texts]
        extents = [ax.transData.inverted().transform_bbox(b.get_window_extent()) for b in boxes]
        for i, step in enumerate(chain):
            for source in step.sources:
                arrow = dict(arrowstyle='-|>', color='#445566', lw=0.9, shrinkA=0, shrinkB=0)
                start, end = (0, extents[source].y0), (0, extents[i].y1)
                if i - source > 1:  # a curve on the right, the longer the farther out
                    start, end = (extents[source].x1, -source), (extents[i].x1, -i)
                    arrow['connectionstyle'] = f'arc3,rad={-0.3 - 1.1 / (i - source)}'
                ax.annotate('', end, start, arrowprops=arrow, zorder=2)
    for ax in list(axes.flat)[len(kinds) :]:
        ax.axis('off')
    fig.savefig(PICTURE, dpi=80, metadata={'Software': None})
    plt.close(fig)


def render(found: dict) -> str:
    rows = []
    for kind, (chain, networks) in found.items():
        names = f'`{kind.__name__}`', ', '.join(f'`{name}`' for name in networks)
        for step in chain:
            if step.kind == 'slot':
                places = ', '.join(PLACES[one] for one in step.default_of)
                behind = chain[step.sources[0]].label
                rows.append([*names, f'`{step.label}`', behind, places])
                names = '', ''  # in the first row of a block
    head = ['block', 'networks', 'position', 'behind', 'default for attention']
    return INTRO + markdown_table(head, rows, left=len(head))


def main() -> None:
    found = blocks()
    draw({kind: chain for kind, (chain, _) in found.items()})
    write_whole(PAGE, render(found))
    print(f'written: {PAGE}, {PICTURE}')


if __name__ == '__main__':
    main()
