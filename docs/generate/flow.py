"""What an attention computes on a map, seen while it computes: steps, and what each takes.

Every call of a torch function is a step, a layer's calls are one, and what only changes a shape is
none. A chain of steps, each of which takes the one before it alone, is one box.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn import kernels
from mmattn.attention import Attention

# Sizes that nothing else in a formula has, so that they are told by their numbers.
CHANNELS, HEIGHT, WIDTH = 256, 21, 35
NAMES = {256: 'C', 21: 'H', 35: 'W', 21 * 35: 'HW', 21 + 35: '(H + W)', 512: '2C'}
# Functions of ours whose calls are one step.
WHOLE = dict(
    grid_means='means over a grid',
    weigh_grid='depthwise conv on the grid',
    spread_cells='spread over the map',
    interpolate='upsample',
    sample_deviation='deviation',
    along='conv along the channels',
    _neighbours='conv along the channels',
    group_norm='GroupNorm',
)
RESHAPING = frozenset(
    (
        'reshape',
        'view',
        'permute',
        'transpose',
        'unsqueeze',
        'squeeze',
        'flatten',
        'unflatten',
        'expand',
        'expand_as',
        'contiguous',
        'to',
        'float',
        'type',
        'type_as',
        'detach',
        '__getitem__',
        'chunk',
        'split',
        'unbind',
        'clone',
        'T',
        'mT',
        '_to_copy',
        'movedim',
        'swapaxes',
        'tensor_split',
        'repeat_interleave',
        'narrow',
        'select',
        'rot90',
        'pad',
        'view_as',
        'masked_fill',
        'reshape_as',
    )
)
SYMBOLS = {
    **dict(mul='×', multiply='×', __mul__='×', __rmul__='×', mul_='×'),
    **dict(add='+', __add__='+', __radd__='+', add_='+', __iadd__='+', iadd='+'),
    **dict(sub='-', __sub__='-', div='/', true_divide='/', __truediv__='/', rsub='1 -'),
    **dict(matmul='matrix product', __matmul__='matrix product', bmm='matrix product'),
    **dict(cat='concatenate', stack='stack', pow='power', square='square', lerp='+'),
    **dict(maximum='maximum', scaled_dot_product_attention='softmax(q k / √d) v', sum='sum'),
    **dict(adaptive_avg_pool2d='means of windows', avg_pool2d='means of windows', amax='max'),
    **dict(relu='ReLU', gelu='GELU', silu='SiLU', relu6='ReLU6', hardswish='h-swish'),
    **dict(linear='Linear', group_norm='GroupNorm', layer_norm='LayerNorm', unfold='windows'),
    **dict(
        linalg_vector_norm='norm',
        interpolate='upsample',
        var='variance',
        std='deviation',
        rsqrt='1 / √',
        sqrt='√',
    ),
}
LAYERS = dict(
    Hardswish='h-swish',
    Sigmoid='sigmoid',
    ShiftWindowMSA='window attention',
    FFN='FFN, + its input',
)
SILENT = frozenset(
    (
        'dim',
        'size',
        'numel',
        'is_complex',
        'is_floating_point',
        'requires_grad_',
        'element_size',
        'stride',
        'storage_offset',
        'is_contiguous',
        'get_device',
        'data_ptr',
        'item',
        '__get__',
        '__set__',
        'is_sparse',
        'empty_like',
        'zeros_like',
        'result_type',
        'broadcast_tensors',
        'register_hook',
        'has_torch_function',
        'numpy',
        'tolist',
        '__len__',
        'new_zeros',
        'new_empty',
        'new_tensor',
        'is_nested',
        '__bool__',
        '__format__',
    )
)


@dataclass
class Step:
    """A box: its lines, the boxes it takes from, and the shape of what comes out of it."""

    lines: list[str]
    sources: list[int]
    shape: str = ''
    kind: str = 'box'  # class of its drawing


class Recorder(TorchFunctionMode):
    """Notes the torch functions that are called, below ``inside`` layers as those."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.steps = [Step(['x'], [], shape_of(x))]
        self.frames: dict[int, FrameType] = {}  # step -> the call of WHOLE that it stands for
        self.made: dict[int, list[int]] = {id(x): [0]}
        self.kept = [x]  # an id is another tensor's once this one has gone
        self.layer: nn.Module | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, '__name__', '')
        if self.layer is None and name not in SILENT:
            self.note(name, args, kwargs or {}, out)
        return out

    def note(self, name: str, args: Sequence, kwargs: dict, out: Any) -> None:
        tensors = list(_tensors([*args, *kwargs.values()]))
        sources = list(dict.fromkeys(i for t in tensors for i in self.made.get(id(t), ())))
        results = list(_tensors(out))
        if not sources or not results:
            return
        if name in RESHAPING:  # to the shape of another map, maybe
            sources = self.made.get(id(tensors[0]), sources)
        frame = _whole(sys._getframe(2))
        ours = [i for i, made_by in self.frames.items() if made_by is frame]
        if frame is not None and ours:  # more of what that call does
            self.steps[ours[0]].shape = shape_of(results[0])
            sources = ours
        elif frame is not None:
            self.steps.append(Step([WHOLE[frame.f_code.co_name]], sources, shape_of(results[0])))
            sources = [len(self.steps) - 1]
            self.frames[sources[0]] = frame
        elif name not in RESHAPING and (
            label := label_of(name, args, kwargs, tensors, self.made)
        ) not in ('+ 0', '0 +'):  # with which Python begins a sum
            self.steps.append(Step([label], sources, shape_of(results[0])))
            sources = [len(self.steps) - 1]
        for one in results:
            self.made[id(one)] = sources
            self.kept.append(one)

    def enter(self, layer: nn.Module, inputs: tuple) -> None:
        if self.layer is None:
            self.layer = layer

    def leave(self, layer: nn.Module, inputs: tuple, out: Tensor) -> None:
        if self.layer is layer:
            self.layer = None
            label = describe(layer)
            self.note(label or 'reshape', inputs, {}, out)


def record(attention: Attention) -> list[Step]:
    """The boxes of an attention, in the order in which they are computed; the last is y."""
    x = torch.rand(2, CHANNELS, HEIGHT, WIDTH) + 0.1
    recorder = Recorder(x)
    handles = []
    for layer in attention.modules():
        if not any(True for _ in layer.children()) and not isinstance(layer, Attention):
            handles.append(layer.register_forward_pre_hook(recorder.enter))
            handles.append(layer.register_forward_hook(recorder.leave))
    with torch.no_grad(), kernels.using('pure'), recorder:
        out = attention.attend(x)
    for handle in handles:
        handle.remove()
    last = recorder.made[id(out)]
    steps = joined(alike(sums(_needed(recorder.steps, last))))
    steps[-1].shape = shape_of(out)
    return steps


def _whole(frame: FrameType | None) -> FrameType | None:
    """The outermost call of WHOLE that this one is part of."""
    found = None
    while frame is not None:
        if frame.f_code.co_name in WHOLE and frame.f_globals['__name__'].startswith('mmattn.'):
            found = frame
        frame = frame.f_back
    return found


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)


def shape_of(tensor: Tensor) -> str:
    """Its sizes but for the batch and for ones: C × H."""
    sizes = [NAMES.get(size, str(size)) for size in tensor.shape[1:]]
    return ' × '.join(size for size in sizes if size != '1') or '1'


def describe(layer: nn.Module) -> str:
    """A layer in few words; '' for one that does nothing."""
    name = type(layer).__name__
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
        kind = 'depthwise ' if layer.groups == layer.in_channels > 1 else ''
        kind = kind or ('grouped ' if layer.groups > 1 else '')
        size = '×'.join(map(str, layer.kernel_size))
        dilated = f', dilation {layer.dilation[0]}' if layer.dilation[0] > 1 else ''
        return f'{kind}conv {size}{dilated}'
    if isinstance(layer, (nn.Identity, nn.modules.dropout._DropoutNd)) or name == 'DropPath':
        return ''
    return LAYERS.get(name, name[:-2] if name.endswith(('1d', '2d')) else name)


def label_of(name: str, args: Sequence, kwargs: dict, tensors: list[Tensor], made: dict) -> str:
    """A call in few words."""
    if name in ('mean', 'amax', 'max', 'sum', 'softmax', 'var', 'std', 'var_mean'):
        axes = kwargs.get('dim', args[1] if len(args) > 1 else None)
        over = axes_of(tensors[0], axes)
        return f'{SYMBOLS.get(name, name)} over {over}' if over else SYMBOLS.get(name, name)
    if name in ('conv1d', 'conv2d') and len(tensors) > 1:
        weight = tensors[1]
        kind = 'depthwise ' if weight.shape[1] == 1 < tensors[0].shape[1] else ''
        return f'{kind}conv {"×".join(map(str, weight.shape[2:]))}'
    label = SYMBOLS.get(name, name.strip('_'))
    if label in ('×', '+', '-', '/'):
        numbers = [arg for arg in args if isinstance(arg, (int, float))]
        if numbers:
            first = isinstance(args[0], (int, float)) or name.startswith('__r')
            return (
                f'{numbers[0]:.2g} {label}'
                if first and label in '-/'
                else f'{label} {numbers[0]:.2g}'
            )
        if any(id(one) not in made for one in tensors):
            return f'{label} parameters'
    return label


def axes_of(tensor: Tensor, axes: Any) -> str:
    """Axes by the names of their sizes."""
    axes = [axes] if isinstance(axes, int) else axes
    if not axes:
        return ''
    return ', '.join(NAMES.get(tensor.shape[axis], str(tensor.shape[axis])) for axis in axes)


def _needed(steps: list[Step], last: list[int]) -> list[Step]:
    """The steps that what comes out depends on."""
    wanted, waiting = set(), list(last)
    while waiting:
        one = waiting.pop()
        if one not in wanted:
            wanted.add(one)
            waiting += steps[one].sources
    number = {old: new for new, old in enumerate(sorted(wanted))}
    return [
        Step(list(steps[old].lines), [number[s] for s in steps[old].sources], steps[old].shape)
        for old in sorted(wanted)
    ]


def sums(steps: list[Step]) -> list[Step]:
    """A sum of sums as one."""
    users = [sum(j in step.sources for step in steps) for j in range(len(steps))]
    for step in steps:
        first = step.sources[0] if step.sources else 0
        while step.lines == ['+'] and steps[first].lines == ['+'] and users[first] == 1:
            step.sources[:1] = steps[first].sources
            first = step.sources[0]
    return _needed(steps, [len(steps) - 1])


def alike(steps: list[Step]) -> list[Step]:
    """Steps that are the same but for their numbers, for one sum, as one."""
    for step in steps:
        kinds: dict[tuple, list[int]] = {}
        for one in step.sources if step.lines == ['+'] else ():
            kinds.setdefault((steps[one].lines[0], tuple(steps[one].sources)), []).append(one)
        for (label, _), same in kinds.items():
            if len(same) > 2:
                steps[same[0]].lines = [f'{label}, {len(same)} times']
                step.sources = [one for one in step.sources if one not in same[1:]]
    return _needed(steps, [len(steps) - 1])


def joined(steps: list[Step]) -> list[Step]:
    """Chains as one step each; operations on several maps begin one."""
    users = [sum(j in step.sources for step in steps) for j in range(len(steps))]
    belongs: dict[int, int] = {}
    out: list[Step] = []
    for i, step in enumerate(steps):
        before = step.sources[0] if len(step.sources) == 1 else None
        alone = before not in (None, 0) and users[before] == 1
        if alone and steps[before].kind == step.kind == 'box':
            belongs[i] = belongs[before]
            box = out[belongs[i]]
            box.lines += step.lines
            box.shape = step.shape
        else:
            belongs[i] = len(out)
            sources = [belongs[s] for s in step.sources]
            out.append(Step(step.lines, sources, step.shape, step.kind))
    for box in out:
        text = '|'.join(box.lines).replace('windows|Linear', WHOLE['along'])
        box.lines = text.split('|')
    return out
