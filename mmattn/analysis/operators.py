"""Multiply-adds as mmengine's FlopAnalyzer counts them, on real data and on the meta device.

Convolutions and matrix products by their multiply-adds, norms and resizing per element. What
FlopAnalyzer leaves out is counted apart: the two products of fused attention, and one
operation per element for elementwise operators, softmax and poolings. FlopAnalyzer itself
traces with torch.jit, which needs real data.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Size
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

ATTENTION = 'attention products'
aten = torch.ops.aten


def _norm(plain: int, weight: int) -> Callable[..., int]:
    """Operations per element of a norm, one more with a weight, which is argument ``weight``."""
    return lambda *args, **kwargs: prod(args[0]) * (plain + (args[weight] is not None))


def _per_output(factor: int) -> Callable[..., int]:
    return lambda *args, out_shape, **kwargs: factor * prod(out_shape)


def _per_input(*args: Any, **kwargs: Any) -> int:
    return max(prod(x) for x in args if isinstance(x, Size))


# Operator -> multiply-adds, from the shapes of its tensors. torch knows convolutions and
# matrix products itself.
COUNTED = {
    aten.native_batch_norm: _norm(1, weight=1),
    aten._native_batch_norm_legit: _norm(1, weight=1),
    aten._native_batch_norm_legit_no_training: _norm(1, weight=1),
    aten.cudnn_batch_norm: _norm(1, weight=1),
    aten.native_layer_norm: _norm(4, weight=2),
    aten.native_group_norm: _norm(4, weight=1),
    aten.upsample_nearest2d: _per_output(1),
    aten.upsample_bilinear2d: _per_output(4),
    aten.grid_sampler_2d: _per_output(4),
    aten._adaptive_avg_pool2d: _per_input,
}
_ELEMENTWISE = (
    *('add', 'sub', 'rsub', 'mul', 'div', 'neg', 'pow', 'exp', 'sqrt', 'rsqrt', 'reciprocal'),
    *('sigmoid', 'hardsigmoid', '_softmax', 'relu', 'hardtanh', 'hardswish', 'gelu', 'silu'),
    *('tanh', 'clamp', 'clamp_min', 'maximum', 'where', 'mean', 'sum', 'amax', 'var'),
    *('var_mean', 'avg_pool2d', 'max_pool2d_with_indices'),
)
# What mmengine leaves out; operator -> its elements, the in-place forms included.
LEFT_OUT = {
    getattr(aten, form): _per_input
    for name in _ELEMENTWISE
    for form in (name, f'{name}_')
    if hasattr(aten, form)
}

# torch takes an operator apart, and counts its parts, unless its very overload is known.
MAPPING = {
    key: formula
    for operator, formula in (COUNTED | LEFT_OUT).items()
    for key in (operator, *(getattr(operator, name) for name in operator.overloads()))
}


@dataclass
class Operations:
    """What a module took."""

    flops: int = 0  # multiply-adds as mmengine counts them
    left_out: Counter = field(default_factory=Counter)  # operator -> what mmengine leaves out


class _FusedAttention(TorchFunctionMode):
    """Counts softmax(q k^T) v as one: each device takes it apart in another way."""

    def __init__(self, counter: FlopCounterMode, left_out: Counter) -> None:
        super().__init__()
        self.counter, self.left_out = counter, left_out

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]  # (..., L, E), (..., S, E), (..., S, V)
        rows = prod(query.shape[:-1])
        self.left_out[ATTENTION] += rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        counts = self.counter.flop_counts['Global']
        before = dict(counts)
        out = func(*args, **(kwargs or {}))
        counts.clear()
        counts.update(before)
        return out


@torch.no_grad()
def count(module: torch.nn.Module, *inputs: Any) -> tuple[Any, Operations]:
    """Run a module; returns its output and what it took."""
    counter = FlopCounterMode(display=False, custom_mapping=MAPPING)
    operations = Operations()
    # Within a level of forward derivatives the kernels are their references, which are counted.
    with counter, _FusedAttention(counter, operations.left_out), forward_ad.dual_level():
        out = module(*inputs)
    for operator, number in counter.get_flop_counts().get('Global', {}).items():
        if operator in LEFT_OUT:
            operations.left_out[operator.__name__.rstrip('_')] += number
        else:
            # torch's own formulas take a multiply-add for two
            operations.flops += number if operator in COUNTED else number // 2
    return out, operations
