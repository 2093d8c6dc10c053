"""Weighing the positions of a map against each other."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention.base import softmax
from mmattn.kernels.primitive import no_autocast, seen_through, wide_dtype


def attended_mean(x: Tensor, logits: Tensor) -> Tensor:
    """The mean of each channel, weighed by a softmax over the positions.

    Args:
        x: (N, C, H, W).
        logits: (N, 1, H, W).

    Returns:
        (N, C).
    """
    weights = softmax(logits.flatten(2), 2).transpose(1, 2)  # (N, H W, 1)
    return (x.flatten(2) @ weights.to(x.dtype))[:, :, 0]


def weighed_channels(x: Tensor, weights: Tensor) -> Tensor:
    """A sum of the channels, which each image weighs by its own: (N, C, H, W), (N, C) -> plane."""
    plane = weights.to(x.dtype)[:, None] @ x.flatten(2)  # (N, 1, H W)
    return plane.reshape(x.shape[0], 1, *x.shape[2:])


def sequence(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H W, C)."""
    return x.flatten(2).transpose(1, 2)


def like_map(values: Tensor, x: Tensor) -> Tensor:
    """(N, H W, D) -> (N, D, H, W), on the places of ``x``."""
    return values.transpose(1, 2).unflatten(2, x.shape[2:])


def along(values: Tensor, conv: nn.Conv1d | nn.Conv2d) -> Tensor:
    """A convolution of one channel: (N, L) -> (N, L).

    As a product with the neighbours, which costs less than so small a convolution, and which
    exported files take for L = 1 too.
    """
    size, gap = conv.kernel_size[-1], conv.padding[-1]
    neighbours = F.pad(values, (gap, gap)).unfold(1, size, 1)  # (N, L, size)
    return F.linear(neighbours, conv.weight.flatten(1))[:, :, 0]


def attend_to(queries: Tensor, keys: Tensor, values: Tensor, scale: float = 1) -> Tensor:
    """softmax over j of (scale * q_i k_j), times v_j.

    By torch's fused attention, which keeps neither the L x M logits nor their softmax, in
    float32 whatever the dtype. What is exported, what a GPU has no kernel for, a second
    derivative, and small maps in float32 on a CPU, where that is faster, write them out.

    Args:
        queries: (N, L, D).
        keys: (N, M, D).
        values: (N, M, E).

    Returns:
        (N, L, E).
    """
    if not seen_through(values) and _few(keys, values):
        with no_autocast(values):
            logits = queries @ keys.transpose(1, 2)
            shares = (logits if scale == 1 else logits * scale).softmax(2)
            if values.is_contiguous():
                return shares @ values
            # In the layout of the values, those of a map (N, E, M).
            return (values.transpose(1, 2) @ shares.transpose(1, 2)).transpose(1, 2)
    if not torch.is_grad_enabled() or seen_through(values):
        return _fused(queries, keys, values, scale)
    return _Attend.apply(queries, keys, values, scale)


def _few(keys: Tensor, values: Tensor) -> bool:
    """Whether logits and softmax take little more memory than the values."""
    plain = values.is_cpu and values.dtype == wide_dtype(values)
    return plain and keys.shape[1] <= 2 * values.shape[2]


def _fused(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    heads = [queries, keys, values]
    if values.device.type == 'cpu' and not seen_through(values):
        # The fused one of a CPU asks for one width; zeros add nothing to a product.
        width = max(t.shape[2] for t in heads)
        heads = [t if t.shape[2] == width else F.pad(t, (0, width - t.shape[2])) for t in heads]
    heads = [t.contiguous().unsqueeze(1) for t in heads]
    out = F.scaled_dot_product_attention(*heads, scale=scale)[:, 0]
    return out[:, :, : values.shape[2]]


class _Attend(torch.autograd.Function):
    """The fused attention has no second derivative; this one has, and saves its inputs alone."""

    @staticmethod
    def forward(ctx, queries, keys, values, scale):
        ctx.save_for_backward(queries, keys, values)
        ctx.scale = scale
        return _fused(queries, keys, values, scale)

    @staticmethod
    def backward(ctx, grad):
        inputs, twice = list(ctx.saved_tensors), torch.is_grad_enabled()
        with torch.enable_grad():
            if twice:
                queries, keys, values = inputs = [t.view_as(t) for t in inputs]
                logits = queries @ keys.transpose(1, 2) * ctx.scale
                out = logits.softmax(2) @ values
            else:
                inputs = [t.detach().requires_grad_() for t in inputs]
                out = _fused(*inputs, ctx.scale)
            grads = torch.autograd.grad(out, inputs, grad.to(out.dtype), create_graph=twice)
        return *grads, None
