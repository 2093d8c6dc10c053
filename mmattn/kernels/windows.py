"""Means of the windows of a map, or of the map times its gates, which is never written."""

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import Primitive, is_channels_last

# torch 2.1 has neither this nor dynamic sizes in torch.export.
CAN_EXPORT = hasattr(torch.compiler, 'is_compiling')


def window_means(
    x: Tensor, rows: Tensor | None = None, columns: Tensor | None = None, *, size: int
) -> Tensor:
    """Means over windows of x, or of x times the gates of rows and columns, in the dtype of x.

    Rows and columns that fill no window are left out; a map smaller than a window is one.
    Sums are taken in float32 at least.

    Args:
        x: (N, C, H, W).
        rows: (N, C, H), together with ``columns``, (N, C, W); or neither.
        size: Side of the windows.

    Returns:
        (N, C, H // size, W // size), at least 1 x 1.
    """
    if rows is not None:
        rows, columns = rows.to(x.dtype), columns.to(x.dtype)
    return _window_means(x, rows, columns, size)


def mean_of_windows(x: Tensor, size: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H // size, W // size), at least 1 x 1; exported with any size."""
    if exporting():
        # torch.export ties a pooling to the windows that fit into its example.
        rows, columns = (_mean_matrix(length, size, x) for length in x.shape[2:])
        # Not @, which compares sizes to choose its way.
        strips = F.linear(x, columns).transpose(2, 3)
        return F.linear(strips, rows).transpose(2, 3)
    return F.avg_pool2d(x, [min(length, size) for length in x.shape[2:]])


def exporting() -> bool:
    """Whether sizes are symbols on which Python's min and max would decide once for all."""
    return CAN_EXPORT and torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def _mean_matrix(length: int, size: int, like: Tensor) -> Tensor:
    """Means over windows of ``size`` of ``length`` values, as a (windows, length) matrix."""
    windows = torch.arange(torch.sym_max(length // size, 1), device=like.device)
    inside = (torch.arange(length, device=like.device) // size == windows[:, None]).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def spread(grad: Tensor, x: Tensor, size: int) -> Tensor:
    """The gradient of ``mean_of_windows(x)``, in the memory format of ``x``."""
    sides = [min(length, size) for length in x.shape[2:]]
    if is_channels_last(x):
        grad = grad.contiguous(memory_format=torch.channels_last)
    return torch.ops.aten.avg_pool2d_backward(grad, x, sides, sides, [0, 0], False, True, None)


def _reference(x, rows, columns, size):
    if rows is not None:
        x = x * rows.unsqueeze(3) * columns.unsqueeze(2)
    return mean_of_windows(x, size)


def _backward(grad, x, rows, columns, size):
    whole = spread(grad, x, size)
    if rows is None:
        return whole, x.new_empty(0), x.new_empty(0)
    by_rows, by_columns = rows.unsqueeze(3), columns.unsqueeze(2)
    product = whole * x
    to_rows, to_columns = (product * by_columns).sum(3), product.mul_(by_rows).sum(2)
    return whole.mul_(by_rows).mul_(by_columns), to_rows, to_columns


def _fake(x, rows, columns, size):
    height, width = (torch.sym_max(length // size, 1) for length in x.shape[2:])
    return x.new_empty((x.shape[0], x.shape[1], height, width))


_window_means = Primitive(
    'window_means(Tensor x, Tensor? rows, Tensor? columns, int size) -> Tensor',
    _reference,
    _backward,
    _fake,
)
