"""Triton's :mod:`mmattn.kernels.stripes`.

d = 5 x 5 of the map; three lines of d along the rows; the sum of d and of a line down each of
them. The gradient of the map is the same backwards: three lines down, their sum along, 5 x 5.
What lies between is written, in the dtype of the map, and not kept.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.stripes import COUNTS, SIZES
from mmattn.kernels.triton import taps, tiles

WEIGHTS = tl.constexpr(sum(COUNTS))
BIASES = tl.constexpr(len(COUNTS))
# Half of the longest line.
REACH = tl.constexpr(10)


@triton.jit
def _further(x, n, c, h, w, tap, mask, C, H, W, LAST: tl.constexpr, DOWN: tl.constexpr):
    if DOWN:
        return taps.near(x, n, c, h + tap, w, mask, C, H, W, LAST)
    return taps.near(x, n, c, h, w + tap, mask, C, H, W, LAST)


@triton.jit
def _weight(
    weights, c, C, tap, FIRST: tl.constexpr, K: tl.constexpr, SIGN: tl.constexpr, DOWN: tl.constexpr
):
    """Of a line of K what meets ``tap`` places further, which for SIGN -1 is the other end.

    The line along begins at FIRST, the one down behind it; beyond their ends is 0.
    """
    inside = (c < C) & (tap + K // 2 >= 0) & (tap <= K // 2)
    at = c * WEIGHTS + FIRST + DOWN * K + K // 2 + SIGN * tap
    return tl.load(weights + at, inside, 0.0).to(tl.float32)


@triton.jit
def _bias(biases, c, C, number):
    value = tl.zeros((1, 1, 1), tl.float32)
    if biases is not None:
        value += tl.load(biases + c * BIASES + number, c < C, 0.0).to(tl.float32)
    return value


@triton.jit(do_not_specialize=tiles.SIZES)
def _square(
    x, weights, biases, out,
    N, C, H, W, c_blocks, w_blocks, chunks, steps, SIGN: tl.constexpr,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """5 x 5."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        total = tl.zeros((BC, BH, BW), tl.float32) + _bias(biases, c, C, 0)
        for tap in range(25):
            to_h, to_w = h + SIGN * (tap // 5 - 2), w + SIGN * (tap % 5 - 2)
            value = taps.near(x, n, c, to_h, to_w, inside, C, H, W, LAST)
            total += value * tl.load(weights + c * WEIGHTS + tap, c < C, 0.0).to(tl.float32)
        tl.store(out + tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT), total, inside)


@triton.jit(do_not_specialize=tiles.SIZES)
def _lines(
    x, weights, biases, out_7, out_11, out_21,
    N, C, H, W, c_blocks, w_blocks, chunks, steps, SIGN: tl.constexpr, DOWN: tl.constexpr,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Three of one map."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        of_7 = tl.zeros((BC, BH, BW), tl.float32) + _bias(biases, c, C, 1 + DOWN)
        of_11 = tl.zeros((BC, BH, BW), tl.float32) + _bias(biases, c, C, 3 + DOWN)
        of_21 = tl.zeros((BC, BH, BW), tl.float32) + _bias(biases, c, C, 5 + DOWN)
        for tap in range(-REACH, REACH + 1):
            value = _further(x, n, c, h, w, tap, inside, C, H, W, LAST, DOWN)
            of_7 += value * _weight(weights, c, C, tap, 25, 7, SIGN, DOWN)
            of_11 += value * _weight(weights, c, C, tap, 39, 11, SIGN, DOWN)
            of_21 += value * _weight(weights, c, C, tap, 61, 21, SIGN, DOWN)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        tl.store(out_7 + at, of_7, inside)
        tl.store(out_11 + at, of_11, inside)
        tl.store(out_21 + at, of_21, inside)


@triton.jit
def _line(
    x, weights, n, c, h, w, mask, C, H, W, FIRST: tl.constexpr, K: tl.constexpr,
    SIGN: tl.constexpr, LAST: tl.constexpr, DOWN: tl.constexpr, SHAPE: tl.constexpr,
):  # fmt: skip
    total = tl.zeros(SHAPE, tl.float32)
    for tap in range(-(K // 2), K // 2 + 1):
        value = _further(x, n, c, h, w, tap, mask, C, H, W, LAST, DOWN)
        total += value * _weight(weights, c, C, tap, FIRST, K, SIGN, DOWN)
    return total


@triton.jit(do_not_specialize=tiles.SIZES)
def _sum(
    x, x_7, x_11, x_21, weights, biases, out,
    N, C, H, W, c_blocks, w_blocks, chunks, steps, SIGN: tl.constexpr, DOWN: tl.constexpr,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """A map and one line of each of three."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    shape: tl.constexpr = (BC, BH, BW)
    bias = _bias(biases, c, C, 1 + DOWN) + _bias(biases, c, C, 3 + DOWN)
    bias += _bias(biases, c, C, 5 + DOWN)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        total = tl.load(x + at, inside, 0.0).to(tl.float32) + bias
        total += _line(x_7, weights, n, c, h, w, inside, C, H, W, 25, 7, SIGN, LAST, DOWN, shape)
        total += _line(x_11, weights, n, c, h, w, inside, C, H, W, 39, 11, SIGN, LAST, DOWN, shape)
        total += _line(x_21, weights, n, c, h, w, inside, C, H, W, 61, 21, SIGN, LAST, DOWN, shape)
        tl.store(out + at, total, inside)


def _along(x, weights, biases, cut) -> tuple[Tensor, list[Tensor]]:
    """d, and the three lines of it."""
    d, *lines = (torch.empty_like(x) for _ in range(4))
    _square[cut.grid](x, weights, biases, d, *cut.arguments, SIGN=1, **cut.constants)
    _lines[cut.grid](d, weights, biases, *lines, *cut.arguments, SIGN=1, DOWN=0, **cut.constants)
    return d, lines


def stripes(x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    x, last = tiles.dense(x)
    out = torch.empty_like(x)
    if not len(x):
        return out
    weights, biases = weights.contiguous(), biases.contiguous()
    cut = tiles.layout(x.shape, last, sums=False)
    with tiles.on(x):
        d, lines = _along(x, weights, biases, cut)
        _sum[cut.grid](
            d, *lines, weights, biases, out, *cut.arguments, SIGN=1, DOWN=1, **cut.constants
        )
    return out


def stripes_backward(grad, x, weights, biases) -> tuple[Tensor, Tensor, Tensor]:
    x, last = tiles.dense(x)
    grad = tiles.alike(grad, last)
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, torch.zeros_like(weights), torch.zeros_like(biases)
    weights, biases = weights.contiguous(), biases.contiguous()
    cut = tiles.layout(x.shape, last, sums=False)
    of_weights = taps.cut(x.shape, last)
    sums = of_weights.sums(x, WEIGHTS.value + BIASES.value)
    with tiles.on(x):
        d, lines = _along(x, weights, biases, cut)
        total, *through = (torch.empty_like(x) for _ in range(4))
        backwards = dict(SIGN=-1, **cut.constants)
        _lines[cut.grid](grad, weights, None, *through, *cut.arguments, DOWN=1, **backwards)
        _sum[cut.grid](grad, *through, weights, None, total, *cut.arguments, DOWN=0, **backwards)
        _square[cut.grid](total, weights, None, grad_x, *cut.arguments, **backwards)
        pairs = [(total, x)]
        for line, of_line in zip(lines, through, strict=True):
            pairs += [(of_line, d), (grad, line)]
        for i, pair in enumerate(pairs):
            of_weights.correlate(*pair, sums, SIZES[i], sum(COUNTS[:i]), sum(COUNTS) + i)
        of_weights, of_biases = sums.split((weights.shape[1], biases.shape[1]), 2)
        return grad_x, of_weights.sum(0).to(x.dtype), of_biases.sum(0).to(x.dtype)
