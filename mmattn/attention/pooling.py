"""Pooling to a grid and back, and to windows; for any size, exportable and deterministic."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.kernels.primitive import (
    cast,
    is_channels_last,
    no_autocast,
    seen_through,
    wide_dtype,
)
from mmattn.kernels.windows import exporting

# Places of a map times cells of its grids up to which one product with all of them is faster
# than a product for the rows and one for the columns (measured with two cores).
ONE_PRODUCT = 2**16


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
    parts = _cell_means(x, grids).split([grid * grid for grid in grids], 2)
    return [parts[i].unflatten(2, (grids[i], grids[i])) for i in range(len(grids))]


def weigh_grids(x: Tensor, *convs: nn.Conv2d) -> Tensor:
    """The sum of depthwise convolutions, each of grid means as large as its kernel.

    As one product and its sum, which cost less than convolutions of such small maps.

    Args:
        x: (N, C, H, W).
        convs: With kernels of (C, 1, grid, grid).

    Returns:
        (N, C).
    """
    means = _cell_means(x, tuple(conv.kernel_size[0] for conv in convs))
    weights = [conv.weight.flatten(1) for conv in convs]
    weights = weights[0] if len(convs) == 1 else torch.cat(weights, 1)
    weighed = (means * cast(weights, x.dtype)).sum(2)
    for conv in convs:
        weighed = weighed if conv.bias is None else weighed + cast(conv.bias, x.dtype)
    return weighed


def _cell_means(x: Tensor, grids: tuple[int, ...]) -> Tensor:
    """Means over the cells of all grids in a row: (N, C, H, W) -> (N, C, cells)."""
    height, width = x.shape[2:]
    cells = sum(grid * grid for grid in grids)
    if not seen_through(x) and height * width * cells <= ONE_PRODUCT:
        matrix = _constant(_cells_matrix, grids, (height, width), x.dtype, x.device)
        if is_channels_last(x):
            return (matrix @ x.permute(0, 2, 3, 1).flatten(1, 2)).transpose(1, 2)
        return F.linear(x.flatten(2), matrix)
    rows, columns = [_matrix(_grid_matrix, grids, size, x) for size in x.shape[2:]]
    means = _projected(x, rows, columns)
    corners = [slice(sum(grids[:i]), sum(grids[: i + 1])) for i in range(len(grids))]
    return torch.cat([means[:, :, corner, corner].flatten(2) for corner in corners], 2)


def spread_cells(grid: Tensor, x: Tensor) -> Tensor:
    """(N, C, K, L) -> (N, C, H, W), the size of ``x``: each place the mean of the cells it meets.

    The adaptive mean pooling of torch, from a grid to a map.
    """
    return _resized(_spread_matrix, grid, x)


def interpolate(grid: Tensor, x: Tensor) -> Tensor:
    """(N, C, K, L) -> (N, C, H, W), the size of ``x``: bilinear, corners on corners.

    As torch's with ``align_corners=True``, whose gradient is not deterministic on a GPU.
    """
    return _resized(_linear_matrix, grid, x)


def _resized(make: Callable[..., Tensor], grid: Tensor, x: Tensor) -> Tensor:
    rows, columns = [_matrix(make, grid.shape[dim], x.shape[dim], x) for dim in (2, 3)]
    if not exporting():
        last = is_channels_last(x)
        layout = torch.channels_last if last else torch.contiguous_format
        grid = grid.contiguous(memory_format=layout)
    return _projected(grid, rows, columns)


def _cells_matrix(grids: tuple[int, ...], size: tuple[int, int], like: Tensor) -> Tensor:
    """(cells, H * W): what each place counts for in each cell of each grid."""
    matrices = [[pooling_matrix(grid, length, like) for length in size] for grid in grids]
    return torch.cat([torch.kron(rows, columns) for rows, columns in matrices])


def _grid_matrix(grids: tuple[int, ...], size: int, like: Tensor) -> Tensor:
    return torch.cat([pooling_matrix(grid, size, like) for grid in grids])


def _spread_matrix(cells: int, size: int, like: Tensor) -> Tensor:
    return pooling_matrix(size, cells, like)


def _linear_matrix(cells: int, size: int, like: Tensor) -> Tensor:
    """(size, cells): what each cell counts for in each place."""
    larger = torch.sym_max if exporting() else max
    places = torch.arange(size, device=like.device).to(wide_dtype(like))[:, None]
    places = places * (cells - 1) / larger(size - 1, 1)
    distances = (places - torch.arange(cells, device=like.device)).abs()
    return (1 - distances).relu().to(like.dtype)


def _matrix(make: Callable[..., Tensor], sizes: int | tuple[int, ...], size: int, like: Tensor):
    """``make(sizes, size, like)``, once for each size where sizes are numbers."""
    if seen_through(like):
        return make(sizes, size, like)
    return _constant(make, sizes, size, like.dtype, like.device)


@functools.lru_cache(maxsize=256)
def _constant(
    make: Callable[..., Tensor],
    sizes: int | tuple[int, ...],
    size: int | tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    # Training may follow inference, and use it.
    with torch.inference_mode(False):
        return make(sizes, size, torch.empty(0, dtype=dtype, device=device))


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


def sample_deviation(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Standard deviation over some axes, as of a sample (over n - 1); of a single value 0.

    Its gradient where nothing deviates is 0. The dtype is that of ``x``.
    """
    larger = torch.sym_max if exporting() else max
    count = 1
    for dim in dims:  # torch.compile knows no math.prod
        count *= x.shape[dim]
    with no_autocast(x):
        # Not x.std, which takes five times as long.
        distance = torch.linalg.vector_norm(x - x.mean(dims, keepdim=True), dim=dims)
        return distance * larger(count - 1, 1) ** -0.5
