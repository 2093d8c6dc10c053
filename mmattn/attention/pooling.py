"""Pooling to a grid and to windows, for any size of the map, exportable and deterministic."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.primitive import is_channels_last, seen_through
from mmattn.kernels.windows import exporting


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


def grid_means(x: Tensor, *grids: int) -> list[Tensor]:
    """Means over grids of windows, in one read: (N, C, H, W) -> (N, C, grid, grid) for each."""
    if seen_through(x):
        rows, columns = [_matrices(grids, size, x) for size in x.shape[2:]]
    else:
        rows, columns = [_constant(grids, size, x.dtype, x.device) for size in x.shape[2:]]
    means = _projected(x, rows, columns)
    corners = [slice(sum(grids[:i]), sum(grids[: i + 1])) for i in range(len(grids))]
    return [means[:, :, corner, corner] for corner in corners]


def _matrices(grids: tuple[int, ...], size: int, like: Tensor) -> Tensor:
    return torch.cat([pooling_matrix(grid, size, like) for grid in grids])


@functools.lru_cache(maxsize=256)
def _constant(
    grids: tuple[int, ...], size: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # Training may follow inference, and use it.
    with torch.inference_mode(False):
        return _matrices(grids, size, torch.empty(0, dtype=dtype, device=device))


def _projected(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, H, W), (K, H), (L, W) -> (N, C, K, L): x between two matrices."""
    if not exporting() and is_channels_last(x):
        strips = columns @ x.permute(0, 2, 3, 1)  # (N, H, L, C)
        means = rows @ strips.flatten(2)  # (N, K, L * C)
        return means.unflatten(2, (len(columns), -1)).permute(0, 3, 1, 2)
    # Not @, which for each of N * C calls a product of its own.
    return F.linear(F.linear(x, columns).transpose(2, 3), rows).transpose(2, 3)


def windows(x: Tensor, size: int, fill: float) -> Tensor:
    """(N, C, H, W) -> (N, C, H', size, W', size), without a branch on H or W.

    H' is H // size, or 1 on a map smaller than a window, which is filled up.
    """
    larger = torch.sym_max if exporting() else max
    offsets = torch.arange(size, device=x.device)
    rows, columns = [
        torch.arange(larger(length // size, 1), device=x.device)[:, None] * size + offsets
        for length in x.shape[2:]
    ]
    return F.pad(x, (0, size - 1, 0, size - 1), value=fill)[:, :, rows][..., columns]
