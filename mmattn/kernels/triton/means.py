"""Triton's :mod:`mmattn.kernels.means`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit(do_not_specialize=tiles.SIZES)
def _forward(
    x, rows, columns,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    sums = tl.zeros((BC, 1, BW), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        value = tl.load(x + tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT), inside, 0.0)
        value = value.to(tl.float32)
        sums += tl.sum(value, 1, keep_dims=True)
        row_at = ((w_block * N + n) * C + c) * H + h
        tl.store(rows + row_at, tl.sum(value, 2, keep_dims=True) / W, (c < C) & (h < H))
    column_at = ((chunk * N + n) * C + c) * W + w
    tl.store(columns + column_at, sums / H, (c < C) & (w < W))


@triton.jit(do_not_specialize=tiles.SIZES)
def _backward(
    rows, columns, out,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    column = tl.load(columns + (n * C + c) * W + w, (c < C) & (w < W), 0.0).to(tl.float32) / H
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        row = tl.load(rows + (n * C + c) * H + h, (c < C) & (h < H), 0.0).to(tl.float32) / W
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        tl.store(out + at, row + column, (c < C) & (h < H) & (w < W))


def means(x: Tensor) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    with tiles.on(x):
        return means_in(x, last, x.dtype)


def means_in(x: Tensor, last: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    cut = tiles.layout(x.shape, last)
    rows = tiles.partial_sums(cut.w_blocks, (n, c, h), x, dtype)
    columns = tiles.partial_sums(cut.chunks, (n, c, w), x, dtype)
    if n:
        _forward[cut.grid](x, rows, columns, *cut.arguments, **cut.constants)
    return tiles.add_up(rows, dtype), tiles.add_up(columns, dtype)


def means_backward(grad_rows: Tensor, grad_columns: Tensor, x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    out, last = tiles.dense(out)
    cut = tiles.layout(x.shape, last, sums=False)
    rows, columns = grad_rows.contiguous(), grad_columns.contiguous()
    with tiles.on(x):
        if len(x):
            _backward[cut.grid](rows, columns, out, *cut.arguments, **cut.constants)
    return out
