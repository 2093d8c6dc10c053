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


def blocks() -> dict[type[AttentionBlock], tuple[AttentionBlock, list[str]]]:
    """Kind of block -> one with an attention at every position, and the networks that have it."""
    found = {}
    for name in sorted(MODELS.names_in('mmattn.backbones'), key=str.lower):
        cfg = dict(type=name, **({'depth': DEPTHS[name]} if name in DEPTHS else {}))
        if name == 'RepVGG':
            cfg['arch'] = 'A0'
        plain = MODELS.build(dict(cfg))
        kinds = {type(m) for m in plain.modules() if isinstance(m, AttentionBlock)}
        for kind in sorted(kinds, key=lambda kind: kind.__name__):
            entries = [dict(type='SimAM', position=position) for position in kind.positions]
            network = MODELS.build(dict(cfg, attention=entries))
            # A block in the middle, whose shortcut is the identity.
            alike = [m for m in network.modules() if type(m) is kind]
            found.setdefault(kind, (alike[len(alike) // 2], []))[1].append(name)
    return found


def steps(block: AttentionBlock) -> list[Step]:
    """What a block computes."""
    tracer, out, number = Tracer(), [], {}
    for node in tracer.trace(block).nodes:
        sources = tuple(dict.fromkeys(i for one in node.all_input_nodes for i in number[one]))
        if node.op == 'placeholder':
            first = not out
            number[node] = (0,) if first else ()
            if first:
                out.append(Step('input', 'join', ()))
            continue
        label, kind = '', 'layer'
        if node.op == 'call_module':
            module = block.get_submodule(node.target)
            label = describe(module)
            if isinstance(module, Attention):
                label, kind = slot_label(block, node.target.removeprefix('attn_')), 'slot'
        elif node.op == 'call_function':
            label, kind = JOINS.get(node.target, ''), 'join'
        if label:
            number[node] = (len(out),)
            out.append(Step(label, kind, sources))
        else:  # a change of the shape, or a layer that does nothing
            number[node] = sources
    return out


def slot_label(block: AttentionBlock, position: str) -> str:
    kinds = [kind for kind, place in block.default_positions.items() if place == position]
    return position + (f'\n{", ".join(kinds)}' if kinds else '')


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
            ax.text(0, -i, step.label, ha='center', va='center', fontsize=9, zorder=3)
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
    for kind, (block, networks) in found.items():
        chain = steps(block)
        slots = [i for i, step in enumerate(chain) if step.kind == 'slot']
        for i in slots:
            position, _, kinds = chain[i].label.partition('\n')
            behind = chain[chain[i].sources[0]].label.partition('\n')[0]
            rows.append(
                [
                    f'`{kind.__name__}`' if i == slots[0] else '',
                    ', '.join(f'`{name}`' for name in networks) if i == slots[0] else '',
                    f'`{position}`',
                    behind,
                    ', '.join(PLACES[one] for one in kinds.split(', ') if one),
                ]
            )
    head = ['block', 'networks', 'position', 'behind', 'default for attention']
    return INTRO + markdown_table(head, rows, left=len(head))


def main() -> None:
    found = blocks()
    draw({kind: steps(block) for kind, (block, _) in found.items()})
    write_whole(PAGE, render(found))
    print(f'written: {PAGE}, {PICTURE}')


if __name__ == '__main__':
    main()
