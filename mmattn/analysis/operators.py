"""A counter of multiply-adds that works on torch's meta device.

It counts as mmengine's FlopAnalyzer does: convolutions and matrix products by their
multiply-adds, norms and resizing per element. Beside that it counts what FlopAnalyzer
leaves out: the two products of fused attention, and one operation per element for
elementwise operators, softmax and poolings. FlopAnalyzer itself traces with torch.jit,
which needs real data.
"""

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ATTENTION = 'attention products'
# Elements are counted of what goes in. Names without the underscore of in-place forms.
LEFT_OUT = frozenset(
    [
        *('add', 'sub', 'rsub', 'mul', 'div', 'neg', 'pow', 'exp', 'sqrt', 'rsqrt', 'reciprocal'),
        *('sigmoid', 'hardsigmoid', '_softmax', 'relu', 'hardtanh', 'hardswish', 'gelu', 'silu'),
        *('tanh', 'clamp', 'clamp_min', 'maximum', 'where', 'mean', 'sum', 'amax', 'var'),
        *('var_mean', 'avg_pool2d', 'max_pool2d_with_indices'),
    ]
)


class OperationCounter(TorchDispatchMode):
    """Counts while it is entered.

    Attributes:
        flops: Multiply-adds as mmengine counts them.
        left_out: Operator -> operations that mmengine leaves out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.left_out: Counter = Counter()
        self._fused = _FusedAttention(self.left_out)

    def __enter__(self) -> 'OperationCounter':
        self._fused.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._fused.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if self._fused.inside:
            return out
        name = func.overloadpacket.__name__.rstrip('_')
        if name in LEFT_OUT:
            self.left_out[name] += max(x.numel() for x in args if isinstance(x, Tensor))
        else:
            self.flops += _flops(name, args, out)
        return out


class _FusedAttention(TorchFunctionMode):
    """Counts softmax(q k^T) v as one: each device takes it apart in another way."""

    def __init__(self, left_out: Counter) -> None:
        super().__init__()
        self.left_out = left_out
        self.inside = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]  # (..., L, E), (..., S, E), (..., S, V)
        rows = math.prod(query.shape[:-1])
        self.left_out[ATTENTION] += rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        self.inside = True
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.inside = False


def _flops(name: str, args: tuple, out: Any) -> int:
    """What mmengine counts for an operator."""
    if name in ('convolution', '_convolution'):
        # (C_out, C_in / groups, k...): each output element sums over the rest
        return out.numel() * math.prod(args[1].shape[1:])
    if name == 'mm':
        return out.numel() * args[0].shape[-1]
    if name in ('bmm', 'baddbmm', 'addmm'):
        return out.numel() * args[0 if name == 'bmm' else 1].shape[-1]
    if 'batch_norm' in name:
        return args[0].numel() * (2 if args[1] is not None else 1)
    if name == 'native_layer_norm':
        return args[0].numel() * (5 if args[2] is not None else 4)
    if name == 'native_group_norm':
        return args[0].numel() * (5 if args[1] is not None else 4)
    if name == 'upsample_nearest2d':
        return out.numel()
    if name in ('upsample_bilinear2d', 'grid_sampler_2d'):
        return 4 * out.numel()
    return args[0].numel() if name == '_adaptive_avg_pool2d' else 0


@torch.no_grad()
def count(module: torch.nn.Module, *inputs: Any) -> tuple[Any, OperationCounter]:
    """Run a module; returns its output and what it took."""
    with OperationCounter() as counter:
        out = module(*inputs)
    return out, counter
