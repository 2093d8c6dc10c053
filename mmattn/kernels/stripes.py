"""CPCA's seven depthwise convolutions of a map, all of a plane while it is in the cache."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import Primitive, is_channels_last, runs_pure

# Of one channel, in the order of the weights: 5 x 5, then along and down of each stripe.
SIZES = ((5, 5), (1, 7), (7, 1), (1, 11), (11, 1), (1, 21), (21, 1))
COUNTS = [height * width for height, width in SIZES]


def stripes(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """d + the sum over k in 7, 11, 21 of dw_kx1(dw_1xk(d)), with d = dw_5x5(x).

    The sum of multi-scale depthwise convolutions of CPCA (arXiv:2306.05196).

    Args:
        x: (N, C, H, W).
        weights: (C, 103), those of a channel's kernels one after the other: 5 x 5, then
            1 x k and k x 1 for each k.
        biases: (C, 7), in the same order.

    Returns:
        (N, C, H, W), in the dtype of ``x``.
    """
    inputs = (x, weights.to(x.dtype), biases.to(x.dtype))
    # Autograd keeps what lies between the convolutions, which the written gradient takes anew.
    if runs_pure(x) or (not torch.is_grad_enabled() and _large_channels_last(x)):
        return _reference(*inputs)
    return _stripes(*inputs)


def _large_channels_last(x):
    """Where PyTorch's own convolutions on a CPU are faster than a plane at a time."""
    return x.device.type == 'cpu' and is_channels_last(x) and x.shape[2] * x.shape[3] > 64 * 64


def _kernels(weights):
    parts = weights.split(COUNTS, 1)
    # By index: torch 2.1 compiles no strict zip.
    return [parts[i].unflatten(1, (1, *SIZES[i])) for i in range(len(SIZES))]


def _never_ends(x):
    """torch 2.11 with a 1 x 21 convolution of float16 on a CPU."""
    return x.dtype == torch.float16 and x.device.type == 'cpu'


def _convolve(x, kernel, bias):
    if _never_ends(x):
        return _convolve(x.float(), kernel.float(), bias.float()).to(x.dtype)
    padding = (kernel.shape[2] // 2, kernel.shape[3] // 2)
    return F.conv2d(x, kernel, bias, padding=padding, groups=x.shape[1])


def _reference(x, weights, biases):
    kernels = _kernels(weights)
    out = base = _convolve(x, kernels[0], biases[:, 0])
    for i in (1, 3, 5):
        stripe = _convolve(base, kernels[i], biases[:, i])
        out = out + _convolve(stripe, kernels[i + 1], biases[:, i + 1])
    return out


def _backward(grad, x, weights, biases):
    kernels = _kernels(weights)
    base = _convolve(x, kernels[0], biases[:, 0])
    total, sums = grad, [None] * 7
    for i in (1, 3, 5):
        stripe = _convolve(base, kernels[i], biases[:, i])
        through, *sums[i + 1] = _gradients(grad, stripe, kernels[i + 1])
        through, *sums[i] = _gradients(through, base, kernels[i])
        total = total + through
    grad_x, *sums[0] = _gradients(total, x, kernels[0])
    grad_weights = torch.cat([weight.flatten(1) for weight, _ in sums], 1)
    return grad_x, grad_weights, torch.stack([bias for _, bias in sums], 1)


def _gradients(grad, x, kernel):
    """Of the input, the kernel and the bias."""
    if _never_ends(x):
        found = _gradients(grad.float(), x.float(), kernel.float())
        return [gradient.to(x.dtype) for gradient in found]
    channels, padding = x.shape[1], [kernel.shape[2] // 2, kernel.shape[3] // 2]
    return torch.ops.aten.convolution_backward(
        *(grad, x, kernel, [channels], [1, 1], padding, [1, 1]),
        *(False, [0, 0], channels, [True, True, True]),
    )


_stripes = Primitive(
    'stripes(Tensor x, Tensor weights, Tensor biases) -> Tensor', _reference, _backward
)
