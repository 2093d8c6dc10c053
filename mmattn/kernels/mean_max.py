"""The mean and the maximum of every plane of a map, in one read."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive


def mean_max(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means and the maxima over the places, in the dtype of ``x``.

    The gradient of a maximum is shared evenly by the elements that reach it.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C) and (N, C). Sums are taken in float32 at least.
    """
    return _mean_max(x)


def _reference(x):
    peak = x.amax((2, 3))
    return x.mean((2, 3)), peak, peak.clone()


def _backward(grad_mean, grad_peak, x, peak):
    reached = x == peak[:, :, None, None]
    even = grad_mean / (x.shape[2] * x.shape[3])
    share = even + grad_peak / reached.sum((2, 3))
    return (torch.where(reached, share[:, :, None, None], even[:, :, None, None]),)


_mean_max = Primitive(
    'mean_max(Tensor x) -> (Tensor, Tensor, Tensor)', _reference, _backward, outputs=2
)
