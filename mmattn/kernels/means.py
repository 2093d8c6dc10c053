"""Means of the rows and the columns of a map, in one read."""

from torch import Tensor

from mmattn.kernels.primitive import Primitive


def means(x: Tensor) -> tuple[Tensor, Tensor]:
    """The means of each row and of each column, in the dtype of ``x``.

    Args:
        x: (N, C, H, W).

    Returns:
        (N, C, H) and (N, C, W). Sums are taken in float32 at least.
    """
    return _means(x)


def _reference(x):
    return x.mean(3), x.mean(2)


def _backward(grad_rows, grad_columns, x):
    rows = (grad_rows / x.shape[3]).unsqueeze(3)
    columns = (grad_columns / x.shape[2]).unsqueeze(2)
    return (rows + columns,)


_means = Primitive('means(Tensor x) -> (Tensor, Tensor)', _reference, _backward, outputs=2)
