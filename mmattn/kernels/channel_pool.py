"""The maximum and the mean over the channels of a gated map, which is not written."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive, wide_dtype


def channel_pool(x: Tensor, channels: Tensor) -> Tensor:
    """The maximum and the mean over the channels of ``x`` times their gates.

    The gradient of a maximum is shared evenly by the channels that reach it.

    Args:
        x: (N, C, H, W).
        channels: (N, C), the gates.

    Returns:
        (N, 2, H, W), the maximum first, in the dtype of ``x``; products and sums are taken in
        float32 at least.
    """
    return _channel_pool(x, channels.to(x.dtype))


def _gated(x, channels):
    return x * channels[:, :, None, None].to(wide_dtype(x))


def _reference(x, channels):
    gated = _gated(x, channels)
    peak = gated.amax(1, keepdim=True)
    return torch.cat((peak, gated.mean(1, keepdim=True)), 1).to(x.dtype), peak


def _backward(grad, x, channels, peak):
    reached = _gated(x, channels) == peak
    to_peak, to_mean = grad.split(1, 1)
    even = to_mean / x.shape[1]
    share = even + to_peak / reached.sum(1, keepdim=True)
    gradient = torch.where(reached, share, even)
    grad_channels = (gradient * x).sum((2, 3))
    return gradient.mul_(channels[:, :, None, None]), grad_channels


_channel_pool = Primitive(
    'channel_pool(Tensor x, Tensor channels) -> (Tensor, Tensor)', _reference, _backward
)
