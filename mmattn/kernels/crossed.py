"""EMA's two branches of a map as one plane for each group of channels, neither written."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import Primitive, no_autocast, runs_pure, wide_dtype


def crossed(
    x: Tensor, rows: Tensor, columns: Tensor, weights: Tensor, kernel: Tensor, eps: float
) -> Tensor:
    """The sum over a group's channels of weights norm(x rows columns) + conv_3x3(x).

    norm gives every plane of the gated map mean 0 and variance 1; the convolution has one
    output channel and zeros around the map (EMA, arXiv:2305.13563).

    Args:
        x: (N, C, H, W).
        rows, columns: (N, C, H) and (N, C, W), gates.
        weights: (N, C).
        kernel: (C / groups, 3, 3), the same for every group.
        eps: Added to the variance.

    Returns:
        (N, groups, H, W), in the dtype of ``x``; statistics are taken in float32 at least.
    """
    inputs = (x, *(t.to(x.dtype) for t in (rows, columns, weights, kernel)), eps)
    # Autograd keeps what lies between, which the written gradient takes anew.
    if runs_pure(x):
        return _planes(*inputs)[0]
    return _crossed(*inputs)


def _planes(x, rows, columns, weights, kernel, eps):
    n, c, height, width = x.shape
    gated = x * rows[..., None] * columns[:, :, None]
    with no_autocast(x):
        groups = (n * (c // kernel.shape[0]), kernel.shape[0], height, width)
        # Reshaped first: of a map that is channels_last torch's takes ten times as long.
        normed = torch.group_norm(gated.reshape(groups), groups[1], None, None, eps)
        plane = weights.reshape(groups[0], 1, groups[1]) @ normed.flatten(2)
        local = F.conv2d(x.reshape(groups), kernel[None], padding=1)
    return (plane.reshape(local.shape) + local).reshape(n, c // groups[1], height, width), gated


def _reference(x, rows, columns, weights, kernel, eps):
    planes, gated = _planes(x, rows, columns, weights, kernel, eps)
    wide = gated.to(wide_dtype(x))
    mean = wide.mean((2, 3), keepdim=True)
    variance = (wide - mean).square().mean((2, 3))
    return planes, mean[:, :, 0, 0], (variance + eps).rsqrt()


def _backward(grad, x, rows, columns, weights, kernel, eps, mean, scale):
    n, c, height, width = x.shape
    groups = (n * (c // kernel.shape[0]), kernel.shape[0], height, width)
    size = height * width
    shared = grad.reshape(groups[0], 1, height, width)
    grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
        *(shared, x.reshape(groups), kernel[None], None, [1, 1], [1, 1], [1, 1]),
        *(False, [0, 0], 1, [True, True, False]),
    )
    across, down = rows[..., None], columns[:, :, None]
    normed = (x * across * down).sub_(mean[:, :, None, None]).mul_(scale[:, :, None, None])
    spread = shared.expand(groups).reshape(x.shape)
    grad_weights = (spread * normed).sum((2, 3))
    level = shared.mean((2, 3)).expand(groups[:2]).reshape(n, c, 1, 1)
    inner = spread - level - normed * (grad_weights / size)[:, :, None, None]
    inner = inner * (weights * scale)[:, :, None, None]
    product = inner * x
    return (
        (grad_x.reshape(x.shape) + inner * across * down).to(x.dtype),
        (product * down).sum(3).to(x.dtype),
        (product * across).sum(2).to(x.dtype),
        grad_weights.to(x.dtype),
        grad_kernel[0].to(x.dtype),
    )


_crossed = Primitive(
    'crossed(Tensor x, Tensor rows, Tensor columns, Tensor weights, Tensor kernel, float eps) '
    '-> (Tensor, Tensor, Tensor)',
    _reference,
    _backward,
)
