"""A weighted sum of a map's channels: a 1x1 convolution to one plane."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import (
    Primitive,
    cast,
    is_channels_last,
    runs_pure,
    seen_through,
    wide_dtype,
)


def combine(x: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """z[n, 0, h, w] = bias + sum over c of x[n, c, h, w] weights[c], in the dtype of ``x``.

    The weights' gradient and that of the map take one read and one write together, where a
    convolution's take two reads and three writes.

    Args:
        x: (N, C, H, W).
        weights: C values in any shape, held in float32 at least.
        bias: One value.

    Returns:
        (N, 1, H, W). Sums are taken in float32 at least.
    """
    if seen_through(x) or (not torch.is_grad_enabled() and runs_pure(x)):
        # PyTorch's own, the bias with it; the C++ kernel is up to four times as fast.
        return _reference(x, weights, cast(bias, x.dtype))
    return _combine(x, cast(weights.flatten(), wide_dtype(x))) + cast(bias, x.dtype)


def _reference(x, weights, bias=None):
    # Whatever autocast makes of it.
    return cast(F.conv2d(x, cast(weights, x.dtype).view(1, -1, 1, 1), bias), x.dtype)


def _backward(grad, x, weights):
    dx = torch.mul(grad, weights.to(x.dtype).view(-1, 1, 1), out=torch.empty_like(x))
    if is_channels_last(x):
        places = x.permute(0, 2, 3, 1).flatten(0, 2)  # (N H W, C)
        return dx, (places.t() @ grad.flatten()).to(weights.dtype)
    grad = grad.flatten(1).unsqueeze(2)  # (N, H W, 1)
    return dx, (x.flatten(2) @ grad).sum((0, 2), dtype=weights.dtype)


_combine = Primitive('combine(Tensor x, Tensor weights) -> Tensor', _reference, _backward)
