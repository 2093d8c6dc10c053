"""Means of a map: of its rows and columns, in one read; of the whole."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import Primitive, is_channels_last, seen_through


def means(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means of each row and of each column, in the dtype of ``x``.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C, H) and (N, C, W). Sums are taken in float32 at least.
    """
    return _means(x)


def mean(x: Tensor) -> Tensor:
    """The mean of each channel, in the dtype of ``x``.

    Its gradient is one value a channel, expanded to the map without being written out;
    that of ``x.mean((2, 3))`` is a whole map.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C). Sums are taken in float32 at least.
    """
    if not torch.is_grad_enabled() or seen_through(x):
        return x.mean((2, 3))
    return _Mean.apply(x)


def _reference(x):
    return x.mean(3), x.mean(2)


def _forward(x):
    if not is_channels_last(x):
        return _reference(x)
    # x.mean over one axis takes six times as long as a pooling of the same.
    height, width = x.shape[2:]
    return F.avg_pool2d(x, (1, width))[:, :, :, 0], F.avg_pool2d(x, (height, 1))[:, :, 0]


def _backward(grad_rows, grad_columns, x):
    rows = (grad_rows / x.shape[3]).unsqueeze(3)
    columns = (grad_columns / x.shape[2]).unsqueeze(2)
    if is_channels_last(x):
        rows, columns = (g.contiguous(memory_format=torch.channels_last) for g in (rows, columns))
    return (rows + columns,)


_means = Primitive(
    'means(Tensor x) -> (Tensor, Tensor)', _reference, _backward, outputs=2, forward=_forward
)


class _Mean(torch.autograd.Function):
    """No operator: its gradient is a view, which is what it is for."""

    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.mean((2, 3))

    @staticmethod
    def backward(ctx, grad):
        height, width = ctx.shape[2:]
        return (grad / (height * width)).view(*grad.shape, 1, 1).expand(ctx.shape)
