"""Triton's :mod:`mmattn.kernels.crossed`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import taps, tiles
from mmattn.kernels.triton.moments import gated, moments


@triton.jit(do_not_specialize=('W', 'N', 'P', 'G', 'S', 'parts', 's_blocks', 'steps'))
def _forward(
    x, rows, columns, weights, kernel, means, scales, out, W, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """A program walks down the G channels of one of the N P planes, at a block of positions."""
    s_block, part, plane = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    H = S // W
    position = s_block * BS + tl.arange(0, BS)[None, :]
    h, w = position // W, position % W
    total = tl.zeros((BC, BS), tl.float32)
    for step in range(steps):
        k = step * BC + tl.arange(0, BC)[:, None]
        inside = (k < G) & (h < H)
        channel = plane * G + k
        of_group = plane % P * G + k
        row = tl.load(rows + channel * H + h, inside, 0.0).to(tl.float32)
        column = tl.load(columns + channel * W + w, inside, 0.0).to(tl.float32)
        factor = tl.load(weights + channel, k < G, 0.0).to(tl.float32)
        factor *= tl.load(scales + channel, k < G, 0.0)
        value = taps.near(x, plane // P, of_group, h, w, k < G, P * G, H, W, LAST)
        value = value * (row * column) - tl.load(means + channel, k < G, 0.0)
        total += value * factor
        for tap in range(9):
            to_h, to_w = h + tap // 3 - 1, w + tap % 3 - 1
            value = taps.near(x, plane // P, of_group, to_h, to_w, inside, P * G, H, W, LAST)
            total += value * tl.load(kernel + k * 9 + tap, k < G, 0.0).to(tl.float32)
    tl.store(out + plane * S + position, tl.sum(total, 0, keep_dims=True), position < S)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'width', 'group'))
def _sums(
    grad, x, rows, columns, means, scales, sums, width, group,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Of each chunk: the sums of the gradient, and of that times the normalised plane."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    mean = tl.load(means + n * C + c, c < C, 0.0)
    scale = tl.load(scales + n * C + c, c < C, 0.0)
    total = tl.zeros((BC, 1, 1), tl.float32)
    weighted = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        at = tiles.offsets(n, c // group, h, w, C // group, H, W, LAST, FLAT)
        given = tl.load(grad + at, (c < C) & (h < H), 0.0).to(tl.float32)
        value = gated(x, rows, columns, n, c, h, w, width, C, H, W, LAST, FLAT)
        total += tl.sum(given, 1, keep_dims=True)
        weighted += tl.sum(given * ((value - mean) * scale), 1, keep_dims=True)
    at = (2 * chunk * N + n) * C + c
    tl.store(sums + at, total, c < C)
    tl.store(sums + at + N * C, weighted, c < C)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'group'))
def _backward(
    grad, x, rows, columns, weights, kernel, means, scales, sums, grad_x, grad_rows, grad_columns,
    group, N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    plane = n * C + c
    mean = tl.load(means + plane, c < C, 0.0)
    scale = tl.load(scales + plane, c < C, 0.0)
    level = tl.load(sums + plane, c < C, 0.0) / (H * W)
    bend = tl.load(sums + N * C + plane, c < C, 0.0) / (H * W)
    factor = tl.load(weights + plane, c < C, 0.0).to(tl.float32) * scale
    column = tl.load(columns + plane * W + w, (c < C) & (w < W), 0.0).to(tl.float32)
    of_columns = tl.zeros((BC, 1, BW), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        row = tl.load(rows + plane * H + h, (c < C) & (h < H), 0.0).to(tl.float32)
        given = taps.near(grad, n, c // group, h, w, inside, C // group, H, W, LAST)
        normed = (value * (row * column) - mean) * scale
        inner = factor * (given - level - normed * bend)
        result = inner * row * column
        for tap in range(9):
            to_h, to_w = h - (tap // 3 - 1), w - (tap % 3 - 1)
            given = taps.near(grad, n, c // group, to_h, to_w, inside, C // group, H, W, LAST)
            weight = tl.load(kernel + c % group * 9 + tap, c < C, 0.0).to(tl.float32)
            result += given * weight
        tl.store(grad_x + at, result, inside)
        product = inner * value
        row_at = ((w_block * N + n) * C + c) * H + h
        by_row = tl.sum(product * column, 2, keep_dims=True)
        tl.store(grad_rows + row_at, by_row, (c < C) & (h < H))
        of_columns += tl.sum(product * row, 1, keep_dims=True)
    column_at = ((chunk * N + n) * C + c) * W + w
    tl.store(grad_columns + column_at, of_columns, (c < C) & (w < W))


def crossed(x, rows, columns, weights, kernel, eps) -> tuple[Tensor, Tensor, Tensor]:
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    group = len(kernel)
    rows, columns, weights = rows.contiguous(), columns.contiguous(), weights.contiguous()
    out = x.new_empty((n, c // group, h, w))
    cut = tiles.columns(n, c // group, group, h * w, last, whole=True)
    with tiles.on(x):
        mean, scale = moments(x, last, eps, rows, columns)
        if n:
            _forward[cut.grid](
                x, rows, columns, weights, kernel.contiguous(), mean, scale, out, w,
                *cut.arguments, **cut.constants,
            )  # fmt: skip
    return out, mean, scale


def crossed_backward(grad, x, rows, columns, weights, kernel, eps, mean, scale):
    x, last = tiles.dense(x)
    grad = tiles.alike(grad, last)
    n, c, h, w = x.shape
    group = len(kernel)
    gates = rows.contiguous(), columns.contiguous()
    grad_x = torch.empty_like(x)
    if not n:
        return grad_x, *(torch.zeros_like(t) for t in (*gates, weights, kernel))
    cut = tiles.layout(x.shape, last, flat=True)
    strips = tiles.layout(x.shape, last)
    of_kernel = taps.cut(x.shape, last)
    sums = x.new_empty((cut.chunks, 2, n, c), dtype=torch.float32)
    of_rows = tiles.partial_sums(strips.w_blocks, (n, c, h), x)
    of_columns = tiles.partial_sums(strips.chunks, (n, c, w), x)
    of_taps = of_kernel.sums(x, 10)
    with tiles.on(x):
        _sums[cut.grid](
            grad, x, *gates, mean, scale, sums, w, group, *cut.arguments, **cut.constants
        )
        sums = tiles.add_up(sums, torch.float32)
        of_kernel.correlate(grad, x, of_taps, (3, 3), 0, 9, group)
        _backward[strips.grid](
            grad, x, *gates, weights.contiguous(), kernel.contiguous(), mean, scale, sums,
            grad_x, of_rows, of_columns, group, *strips.arguments, **strips.constants,
        )  # fmt: skip
        # Every group has the same kernel.
        of_taps = of_taps.view(-1, group, 10)[..., :9].sum(0)
        return (
            grad_x,
            tiles.add_up(of_rows, x.dtype),
            tiles.add_up(of_columns, x.dtype),
            sums[1].to(x.dtype, copy=True),
            of_taps.view(kernel.shape).to(x.dtype),
        )
