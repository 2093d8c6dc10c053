"""Mean and deviation of every plane of a map, or of the map times gates of rows and columns."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit
def gated(
    x, rows, columns, n, c, h, w, width, C, H, W, LAST: tl.constexpr, FLAT: tl.constexpr
):  # fmt: skip
    """A tile of the map, ``h`` being a place of a plane, times the gates; beyond it 0."""
    inside = (c < C) & (h < H)
    value = tl.load(x + tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT), inside, 0.0)
    value = value.to(tl.float32)
    if rows is not None:
        plane = n * C + c
        row = tl.load(rows + plane * (H // width) + h // width, inside, 0.0).to(tl.float32)
        value *= row * tl.load(columns + plane * width + h % width, inside, 0.0).to(tl.float32)
    return value


@triton.jit(do_not_specialize=(*tiles.SIZES, 'width', 'eps'))
def _parts(
    x, rows, columns, means, spreads, width, eps,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    WHOLE: tl.constexpr,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Of each chunk: the mean, and the sum of squares around it, or what that is for if WHOLE."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    size = tl.minimum(H - first, steps * BH)
    total = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        value = gated(x, rows, columns, n, c, h, w, width, C, H, W, LAST, FLAT)
        total += tl.sum(value, 1, keep_dims=True)
    mean = total / size
    squares = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        value = gated(x, rows, columns, n, c, h, w, width, C, H, W, LAST, FLAT)
        distance = tl.where(h < H, value - mean, 0.0)
        squares += tl.sum(distance * distance, 1, keep_dims=True)
    at = (chunk * N + n) * C + c
    tl.store(means + at, mean, c < C)
    tl.store(spreads + at, tl.rsqrt(squares / size + eps) if WHOLE else squares, c < C)


@triton.jit(do_not_specialize=('parts', 'part_size', 'size', 'planes', 'eps'))
def _whole(
    means, squares, mean, scale, parts, part_size, size, planes, eps, BLOCK: tl.constexpr
):  # fmt: skip
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    middle = tl.zeros((BLOCK,), tl.float32)
    for part in range(parts):
        share = tl.minimum(size - part * part_size, part_size)
        middle += tl.load(means + part * planes + i, i < planes, 0.0) * share / size
    total = tl.zeros((BLOCK,), tl.float32)
    for part in range(parts):
        share = tl.minimum(size - part * part_size, part_size)
        distance = tl.load(means + part * planes + i, i < planes, 0.0) - middle
        total += tl.load(squares + part * planes + i, i < planes, 0.0)
        total += distance * distance * share
    tl.store(mean + i, middle, i < planes)
    tl.store(scale + i, tl.rsqrt(total / size + eps), i < planes)


def moments(
    x: Tensor,
    last: bool,
    eps: float,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(variance + eps) of a dense map's planes: (N, C) each, float32.

    In two passes over each part of a plane, then over the parts.
    """
    n, c, h, w = x.shape
    cut = tiles.layout(x.shape, last, flat=True)
    means, spreads = (x.new_empty((cut.chunks, n, c), dtype=torch.float32) for _ in range(2))
    if n:
        _parts[cut.grid](
            x, rows, columns, means, spreads, w, eps, *cut.arguments, WHOLE=cut.chunks == 1,
            **cut.constants,
        )  # fmt: skip
    if cut.chunks == 1:
        return means[0], spreads[0]
    mean, scale = torch.empty_like(means[0]), torch.empty_like(means[0])
    if n:
        part_size = cut.steps * cut.constants['BH']
        _whole[(triton.cdiv(n * c, 256),)](
            means, spreads, mean, scale, cut.chunks, part_size, h * w, n * c, eps, BLOCK=256
        )
    return mean, scale
