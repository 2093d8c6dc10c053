"""Shuffle attention: half of the channels times gates of planes, half of places, shuffled."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive, laid_out_like, no_autocast


def shuffle_gate(x: Tensor, slope: Tensor, offset: Tensor, groups: int, eps: float) -> Tensor:
    """SA-Net's gates and channel shuffle (arXiv:2102.00240), in one read and one write.

    Each group of channels has two halves [a, b]. With s and o the rows of ``slope`` and
    ``offset``, a' = a sigmoid(s_0 mean_hw(a) + o_0) and b' = b sigmoid(s_1 n + o_1), where n
    is b with mean 0 and variance 1 in every plane. The channels [a', b', a', b', ...] are the
    rows of two columns, which are then read down.

    Args:
        x: (N, C, H, W).
        slope, offset: (2, C / groups / 2).
        groups: 2 * groups divides C.
        eps: Added to the variance.

    Returns:
        (N, C, H, W), in the dtype of ``x``; statistics are taken in float32 at least.
    """
    return _shuffle_gate(x, slope.to(x.dtype), offset.to(x.dtype), groups, eps)


def _reference(x, slope, offset, groups, eps):
    a, b = _halves(x, groups)
    slope, offset = slope[:, :, None, None], offset[:, :, None, None]
    gate_a = (slope[0] * a.mean((2, 3), keepdim=True) + offset[0]).sigmoid()
    gate_b = (slope[1] * _normalised(b, eps) + offset[1]).sigmoid()
    out = torch.cat((a * gate_a, b * gate_b), 1).reshape(
        x.shape[0], 2, x.shape[1] // 2, *x.shape[2:]
    )
    out = out.transpose(1, 2).reshape(x.shape)
    return laid_out_like(out, x)


def _halves(x, groups):
    """Two times (N * groups, C / groups / 2, H, W)."""
    return x.reshape(x.shape[0] * groups, x.shape[1] // groups, *x.shape[2:]).chunk(2, 1)


def _normalised(b, eps):
    """b with mean 0 and variance 1 in every plane."""
    with no_autocast(b):
        return torch.group_norm(b, b.shape[1], None, None, eps)


def _backward(grad, x, slope, offset, groups, eps):
    a, b = _halves(x, groups)
    grad = (
        grad.reshape(x.shape[0], x.shape[1] // 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape)
    )
    grad_a, grad_b = _halves(grad, groups)
    slopes, offsets = slope[:, :, None, None], offset[:, :, None, None]
    size = x.shape[2] * x.shape[3]
    mean = a.mean((2, 3), keepdim=True)
    gate = (slopes[0] * mean + offsets[0]).sigmoid()
    inner = (grad_a * a).sum((2, 3), keepdim=True) * gate * (1 - gate)
    out_a = grad_a * gate + inner * slopes[0] / size
    sums = [(inner * mean).sum(0), inner.sum(0)]
    b = b.contiguous()
    n, _, scale = torch.native_group_norm(b, None, None, *b.shape[:2], size, b.shape[1], eps)
    gate = (slopes[1] * n).add_(offsets[1]).sigmoid_()
    inner = (grad_b * b).mul_(gate).mul_(1 - gate)
    level, rise = inner.sum((2, 3), keepdim=True), (inner * n).sum((2, 3), keepdim=True)
    sums += [rise.sum(0), level.sum(0)]
    # Through the mean and the variance.
    inner.sub_(level / size).sub_(n.mul_(rise / size)).mul_(slopes[1] * scale[:, :, None, None])
    out_b = gate.mul_(grad_b).add_(inner)
    grads = torch.stack(sums).reshape(2, 2, slope.shape[1]).transpose(0, 1).to(x.dtype)
    return torch.cat((out_a, out_b), 1).reshape(x.shape), grads[0].clone(), grads[1].clone()


def _fake(x, *_):
    return torch.empty_like(x)


_shuffle_gate = Primitive(
    'shuffle_gate(Tensor x, Tensor slope, Tensor offset, int groups, float eps) -> Tensor',
    _reference,
    _backward,
    _fake,
)
