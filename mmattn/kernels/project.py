"""The sum of a map under weights, a plane of them for each group of channels."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive, cast, is_channels_last, wide_dtype


def project(x: Tensor, planes: Tensor) -> Tensor:
    """z[n, c] = sum over h, w of x[n, c, h, w] planes[g, h, w], in the dtype of ``x``.

    Args:
        x: (N, C, H, W).
        planes: (G, H, W) where G divides C: one plane for C / G channels in turn. It is
            held in float32 at least.

    Returns:
        (N, C). Sums are taken in float32 at least.
    """
    planes = cast(planes, wide_dtype(x))
    learned = planes.requires_grad and torch.is_grad_enabled()
    return cast(_project(x, planes, learned), x.dtype)  # which autocast would change


def _reference(x, planes, learned):
    groups = x.unflatten(1, (planes.shape[0], x.shape[1] // planes.shape[0]))
    return torch.einsum('ngchw,ghw->ngc', groups, planes.to(x.dtype)).flatten(1)


def _forward(x, planes, learned):
    planes = planes.to(x.dtype)
    shape = planes.shape[0], x.shape[1] // planes.shape[0]
    if not is_channels_last(x):
        # Not a product of matrices, whose long sums lose digits.
        return (x.unflatten(1, shape) * planes[:, None]).sum((3, 4)).flatten(1)
    # Every plane with every channel, and what belongs together: no copy of the map.
    spectrum = planes.flatten(1) @ x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, G, C)
    own = spectrum.unflatten(2, shape).diagonal(dim1=1, dim2=2)  # (N, C / G, G)
    return own.transpose(1, 2).reshape(x.shape[:2])


def _backward(grad, x, planes, learned):
    grad = grad.unflatten(1, (planes.shape[0], x.shape[1] // planes.shape[0]))  # (N, G, C / G)
    own = planes.to(x.dtype)
    if is_channels_last(x):
        spectrum = torch.diag_embed(grad.transpose(1, 2), dim1=1, dim2=2).flatten(2)  # (N, G, C)
        dx = own.flatten(1).t() @ spectrum  # (N, HW, C)
        dx = dx.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    else:
        dx = (grad[:, :, :, None, None] * own[:, None]).flatten(1, 2)
    return dx, _of_planes(grad, x, planes) if learned else torch.zeros_like(planes)


def _of_planes(grad, x, planes):
    groups = x.unflatten(1, (planes.shape[0], x.shape[1] // planes.shape[0])).to(planes.dtype)
    return torch.einsum('ngc,ngchw->ghw', grad.to(planes.dtype), groups)


_project = Primitive(
    'project(Tensor x, Tensor planes, bool learned) -> Tensor',
    _reference,
    _backward,
    forward=_forward,
)
