"""Triton's :mod:`mmattn.kernels.windows`."""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles

WINDOWS = ('rows_of', 'columns_of', 'height', 'width', 'n_stride', 'p_stride', 'c_stride')


@triton.jit(do_not_specialize=('C', 'H', 'W', 'c_blocks', 'w_blocks', *WINDOWS))
def _forward(
    x, rows, columns, out, C, H, W, c_blocks, w_blocks,
    rows_of, columns_of, height, width, n_stride, p_stride, c_stride,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BN: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """A program has some windows of one row of windows, in tiles (BC, BH, BN, BW)."""
    pid = tl.program_id(0)
    window = pid % w_blocks * BN + tl.arange(0, BN)[None, None, :, None]
    pid = pid // w_blocks
    row_of = pid % rows_of
    pid = pid // rows_of
    c = pid % c_blocks * BC + tl.arange(0, BC)[:, None, None, None]
    n = pid // c_blocks
    if IS_WIDE:
        n = n.to(tl.int64)
    if LAST:
        C = C * ALIGN
    total = tl.zeros((BC, 1, BN, 1), tl.float32)
    for i in range(0, height, BH):
        within = i + tl.arange(0, BH)[None, :, None, None]
        h = row_of * height + within
        row_mask = (c < C) & (within < height)
        row = tl.full((1, 1, 1, 1), 1.0, tl.float32)
        if rows is not None:
            row = tl.load(rows + (n * C + c) * H + h, row_mask, 0.0).to(tl.float32)
        for j in range(0, width, BW):
            across = j + tl.arange(0, BW)[None, None, None, :]
            w = window * width + across
            mask = (c < C) & (window < columns_of) & (across < width)
            inside = row_mask & mask
            at = tiles.offsets(n, c, h, w, C, H, W, LAST, False)
            value = tl.load(x + at, inside, 0.0).to(tl.float32) * row
            if columns is not None:
                column = tl.load(columns + (n * C + c) * W + w, mask, 0.0)
                value = value * column.to(tl.float32)
            total += tl.sum(tl.sum(value, 3, keep_dims=True), 1, keep_dims=True)
    at_end = n * n_stride + (row_of * columns_of + window) * p_stride + c * c_stride
    tl.store(out + at_end, total / (height * width), (c < C) & (window < columns_of))


@triton.jit(do_not_specialize=(*tiles.SIZES, *WINDOWS))
def _backward(
    grad, x, rows, columns, grad_x, grad_rows, grad_columns,
    rows_of, columns_of, height, width, n_stride, p_stride, c_stride,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    column = tl.full((1, 1, 1), 1.0, tl.float32)
    if columns is not None:
        column = tl.load(columns + (n * C + c) * W + w, (c < C) & (w < W), 0.0).to(tl.float32)
    of_columns = tl.zeros((BC, 1, BW), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = spread(
            grad, n, c, h, w, C,
            rows_of, columns_of, height, width, n_stride, p_stride, c_stride,
        )  # fmt: skip
        row = tl.full((1, 1, 1), 1.0, tl.float32)
        if rows is not None:
            row = tl.load(rows + (n * C + c) * H + h, (c < C) & (h < H), 0.0).to(tl.float32)
        if grad_x is not None:
            tl.store(grad_x + at, value * row * column, inside)
        if rows is not None:
            product = value * tl.load(x + at, inside, 0.0).to(tl.float32)
            row_at = ((w_block * N + n) * C + c) * H + h
            by_row = tl.sum(product * column, 2, keep_dims=True)
            tl.store(grad_rows + row_at, by_row, (c < C) & (h < H))
            of_columns += tl.sum(product * row, 1, keep_dims=True)
    if rows is not None:
        column_at = ((chunk * N + n) * C + c) * W + w
        tl.store(grad_columns + column_at, of_columns, (c < C) & (w < W))


@triton.jit
def spread(
    grad, n, c, h, w, C, rows_of, columns_of, height, width, n_stride, p_stride, c_stride
):  # fmt: skip
    """What the gradients of the windows give to a tile of the map: outside of them zero."""
    inside = (c < C) & (h < rows_of * height) & (w < columns_of * width)
    at = n * n_stride + (h // height * columns_of + w // width) * p_stride + c * c_stride
    return tl.load(grad + at, inside, 0.0).to(tl.float32) / (height * width)


@functools.lru_cache(4096)
def grid_of(shape: torch.Size, size: int, positions_first: bool, extra: int = 0) -> tuple:
    """Windows in a column and in a row, their sides, and strides of what has a value of each.

    That is (N, C, windows), or (N, windows + extra, C) with ``positions_first``.
    """
    n, c, h, w = shape
    down, across = max(h // size, 1), max(w // size, 1)
    count = down * across + extra
    strides = (count * c, c, 1) if positions_first else (count * c, 1, count)
    return down, across, min(h, size), min(w, size), *strides


@functools.lru_cache(4096)
def _layout(shape: torch.Size, last: bool, windows: tuple) -> tuple[tuple, dict, tuple]:
    n, c, h, w = shape
    down, across, height, width = windows[:4]
    if last:
        bc = tiles.block(c, 32)
        bw = tiles.block(width, tiles.ELEMENTS // bc)
        bh = tiles.block(height, tiles.ELEMENTS // bc // bw)
        bn = tiles.block(across, tiles.ELEMENTS // bc // bw // bh)
    else:
        bw = tiles.block(width, 256)
        bn = tiles.block(across, 256 // bw)
        bh = tiles.block(height, tiles.ELEMENTS // bw // bn)
        bc = tiles.block(c, tiles.ELEMENTS // bw // bn // bh)
    align = tiles.align(c) if last else 1
    c_blocks, w_blocks = -(-c // bc), -(-across // bn)
    constants = dict(LAST=last, ALIGN=align, BC=bc, BH=bh, BN=bn, BW=bw)
    constants.update(IS_WIDE=n * c * h * w > tiles.WIDE, num_warps=4)
    arguments = (c // align, h, w, c_blocks, w_blocks)
    return arguments, constants, (n * c_blocks * down * w_blocks,)


def means_into(out: Tensor, x: Tensor, last: bool, rows, columns, windows: tuple) -> None:
    arguments, constants, grid = _layout(x.shape, last, windows)
    _forward[grid](x, rows, columns, out, *arguments, *windows, **constants)


def gates_gradients(grad: Tensor, x: Tensor, last: bool, rows, columns, windows, grad_x=None):
    """Of the rows and the columns, and, where there is room for it, of the map."""
    n, c, h, w = x.shape
    cut = tiles.layout(x.shape, last)
    of_rows = of_columns = None
    if rows is not None:
        of_rows = tiles.partial_sums(cut.w_blocks, (n, c, h), rows)
        of_columns = tiles.partial_sums(cut.chunks, (n, c, w), rows)
    _backward[cut.grid](
        grad, x, rows, columns, grad_x, of_rows, of_columns, *windows,
        *cut.arguments, **cut.constants,
    )  # fmt: skip
    if rows is None:
        return None, None
    return tiles.add_up(of_rows, rows.dtype), tiles.add_up(of_columns, rows.dtype)


def window_means(x: Tensor, rows: Tensor | None, columns: Tensor | None, size: int) -> Tensor:
    x, last = tiles.dense(x)
    rows, columns = (g if g is None else g.contiguous() for g in (rows, columns))
    windows = grid_of(x.shape, size, False)
    out = x.new_empty((*x.shape[:2], *windows[:2]))
    with tiles.on(x):
        if len(x):
            means_into(out, x, last, rows, columns, windows)
    return out


def window_means_backward(grad, x, rows, columns, size) -> tuple[Tensor, Tensor, Tensor]:
    x, last = tiles.dense(x)
    rows, columns = (g if g is None else g.contiguous() for g in (rows, columns))
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, *(
            x.new_empty(0) if g is None else torch.zeros_like(g) for g in (rows, columns)
        )
    windows = grid_of(x.shape, size, False)
    with tiles.on(x):
        sums = gates_gradients(grad.contiguous(), x, last, rows, columns, windows, grad_x)
    return grad_x, *(x.new_empty(0) if total is None else total for total in sums)
