"""Each kind of block, and where attention goes.

Each backbone is built with an attention at every position, and torch.fx follows its blocks: what
is drawn is what the code computes.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import fx, nn

import mmattn  # noqa: F401
from generate.drawing import draw
from generate.flow import Step as Box
from generate.flow import describe, joined
from mmattn.analysis.tables import markdown_table
from mmattn.attention import Attention
from mmattn.attention.listing import PLACES
from mmattn.backbones.slots import AttentionBlock
from mmattn.registry import MODELS

DEPTHS = dict(ResNet=50, ResNetV1c=18, ResNeXt=50, Res2Net=50, SERes2Net=50)
DEPTHS |= dict(ResNetV1d=50, ResNetCIFAR=56, DenseNetCIFAR=100, Res2NetCIFAR=29, SERes2NetCIFAR=29)
JOINS = {operator.add: '+', operator.iadd: '+', torch.cat: 'concatenate', torch.add: '+'}
INTRO = """# Blocks and their positions

`attention=dict(type='SCSA')` puts an attention where its paper does, `position='after_conv1'`
anywhere else. In orange the positions of each kind of block; the table below the drawings says
which kinds of attention are there unless `position` says otherwise (`python -m mmattn attention`
tells the kind of each).

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


@cache
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


def drawing(kind: type[AttentionBlock], chain: list[Step], placement: str = '') -> str:
    """A kind of block as a figure; the place of a kind of attention stands out."""
    boxes = []
    for step in chain:
        here = placement and placement in step.default_of
        kind_of_box = 'here' if here else 'slot' if step.kind == 'slot' else 'box'
        boxes.append(Box([step.label], list(step.sources), kind=kind_of_box))
    svg = draw(joined(boxes), f'{kind.__name__}: what it computes, and the positions of attention')
    return f'<figure><figcaption>{kind.__name__}</figcaption>{svg}</figure>'


def pages() -> dict[str, str]:
    """The page of all blocks."""
    rows, drawings = [], []
    for kind, (chain, networks) in blocks().items():
        drawings.append(drawing(kind, chain))
        names = f'`{kind.__name__}`', ', '.join(f'`{name}`' for name in networks)
        for step in chain:
            if step.kind == 'slot':
                places = ', '.join(PLACES[one] for one in step.default_of)
                behind = chain[step.sources[0]].label
                rows.append([*names, f'`{step.label}`', behind, places])
                names = '', ''  # in the first row of a block
    head = ['block', 'networks', 'position', 'behind', 'default for attention']
    table = markdown_table(head, rows, left=len(head))
    return {'blocks.md': f'{INTRO}{in_a_row(drawings)}\n{table}'}


def in_a_row(drawings: list[str]) -> str:
    """Figures beside each other, as far as the page is wide."""
    return f'```{{raw}} html\n<div class="drawings">{"".join(drawings)}</div>\n```\n'
