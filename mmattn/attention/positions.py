"""Weighing the positions of a map against each other."""

from torch import Tensor
from torch.nn import functional as F

from mmattn.attention.base import softmax
from mmattn.kernels.primitive import seen_through


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


def attend_to(queries: Tensor, keys: Tensor, values: Tensor, scale: float = 1) -> Tensor:
    """softmax over j of (scale * q_i k_j), times v_j.

    By torch's fused attention, which keeps neither the L x M logits nor their softmax, in
    float32 whatever the dtype. What is exported, and what a GPU has no kernel for, writes
    them out.

    Args:
        queries: (N, L, D).
        keys: (N, M, D).
        values: (N, M, E).

    Returns:
        (N, L, E).
    """
    width = values.shape[2] - queries.shape[2]
    if width > 0 and values.device.type == 'cpu' and not seen_through(values):
        # The fused one of a CPU asks for one width; zeros add nothing to a product.
        queries, keys = F.pad(queries, (0, width)), F.pad(keys, (0, width))
    heads = [t.contiguous().unsqueeze(1) for t in (queries, keys, values)]
    return F.scaled_dot_product_attention(*heads, scale=scale)[:, 0]
