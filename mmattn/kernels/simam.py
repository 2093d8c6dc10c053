"""SimAM: a map times a gate from each element's distance to its plane's mean."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive, wide_dtype


def simam(x: Tensor, e_lambda: float, scale: Tensor | None = None) -> Tensor:
    """``x`` times SimAM's gate (ICML 2021), in one read and one write.

    With d the distance to the mean of the plane and v the variance of the plane as of a
    sample (over HW - 1), y = x a with a = sigmoid(d^2 / (4 (v + e_lambda)) + 1/2); with
    ``scale`` s, y = x (1 + s (a - 1)), which is x itself at s = 0.

    Args:
        x: (N, C, H, W). On planes of one element the variance is 0.
        e_lambda: Positive.
        scale: One value.

    Returns:
        (N, C, H, W), in the dtype of ``x``; statistics are taken in float32 at least.
    """
    if scale is not None:
        scale = scale.to(wide_dtype(x))
    return _simam(x, scale, e_lambda)


def _reference(x, scale, e_lambda):
    distance, _ = _distance(x, e_lambda)
    out = x * (distance * distance + 0.5).sigmoid()
    return out if scale is None else torch.lerp(x, out, scale.to(x.dtype))


def _distance(x, e_lambda):
    """The distance in units of 2 sqrt(v + e_lambda), and one over that."""
    distance = x - x.mean((2, 3), keepdim=True)
    # float16 has no room for squares. Not x.var, which takes ten times as long.
    wide = distance.to(wide_dtype(x))
    variance = (wide * wide).sum((2, 3), keepdim=True) / max(x.shape[2] * x.shape[3] - 1, 1)
    unit = (4 * (variance + e_lambda)).rsqrt().to(x.dtype)
    return distance * unit, unit


def _backward(grad, x, scale, e_lambda):
    q, unit = _distance(x, e_lambda)
    rest = q.square().add_(0.5).neg_().sigmoid_()  # 1 - a
    inner = grad * x
    grad_scale = x.new_empty(0)
    if scale is not None:
        total = -(inner * rest).sum(dtype=scale.dtype)
        grad_scale, scale = total.reshape(scale.shape), scale.to(x.dtype)
    # The gradient of q, then through the mean and the variance.
    inner.mul_(rest).mul_(1 - rest).mul_(q).mul_(2 if scale is None else 2 * scale)
    slope = (inner * q).sum((2, 3), keepdim=True) * (4 / max(x.shape[2] * x.shape[3] - 1, 1))
    inner.sub_(inner.mean((2, 3), keepdim=True)).sub_(q.mul_(slope)).mul_(unit)
    return inner.add_(grad * (1 - (rest if scale is None else scale * rest))), grad_scale


_simam = Primitive(
    'simam(Tensor x, Tensor? scale, float e_lambda) -> Tensor', _reference, _backward
)
