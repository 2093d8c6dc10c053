"""Means over a grid of cells, for any size of the map, exportable and deterministic."""

import torch
from torch import Tensor


def pooling_matrix(cells: int, size: int, like: Tensor) -> Tensor:
    """Adaptive mean pooling of ``size`` values to ``cells``, as a (cells, size) matrix.

    Cell i covers floor(i * size / cells) to ceil((i + 1) * size / cells), as in
    torch's adaptive pooling, which neither exports with a dynamic size nor is
    deterministic on a GPU.

    Args:
        cells: Number of cells.
        size: Number of values, 1 or more; may be symbolic.
        like: Gives the matrix its dtype and device.
    """
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(size, device=like.device)[None]
    start = torch.div(cell * size, cells, rounding_mode='floor')
    stop = torch.div((cell + 1) * size + cells - 1, cells, rounding_mode='floor')
    inside = ((place >= start) & (place < stop)).to(like.dtype)
    return inside / (stop - start).to(like.dtype)


def grid_mean(x: Tensor, cells: int) -> Tensor:
    """(N, C, H, W) -> (N, C, cells, cells)."""
    rows = pooling_matrix(cells, x.shape[2], x)
    columns = pooling_matrix(cells, x.shape[3], x)
    return rows @ (x @ columns.transpose(0, 1))
