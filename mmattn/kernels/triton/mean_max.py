"""Triton's :mod:`mmattn.kernels.mean_max`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit(do_not_specialize=tiles.SIZES)
def _forward(
    x, means, peaks,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    total = tl.zeros((BC, 1, 1), tl.float32)
    peak = tl.full((BC, 1, 1), float('-inf'), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        total += tl.sum(value, 1, keep_dims=True)
        value = tl.where(inside, value, float('-inf'))
        peak = tl.maximum(peak, tl.max(value, 1, keep_dims=True))
    at_end = (chunk * N + n) * C + c
    tl.store(means + at_end, total / H, c < C)
    # A maximum of NaNs is none of them; a sum is.
    tl.store(peaks + at_end, tl.where(total == total, peak, total), c < C)


@triton.jit(do_not_specialize=tiles.SIZES)
def _count(
    x, peaks, counts,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    peak = tl.load(peaks + n * C + c, c < C, 0.0).to(tl.float32)
    total = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        total += tl.sum((inside & (value == peak)).to(tl.float32), 1, keep_dims=True)
    tl.store(counts + (chunk * N + n) * C + c, total, c < C)


@triton.jit(do_not_specialize=tiles.SIZES)
def _backward(
    grad_mean, grad_peak, x, peaks, counts, out,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    plane = n * C + c
    peak = tl.load(peaks + plane, c < C, 0.0).to(tl.float32)
    even = tl.load(grad_mean + plane, c < C, 0.0).to(tl.float32) / H
    share = tl.load(grad_peak + plane, c < C, 0.0).to(tl.float32)
    share = even + share / tl.load(counts + plane, c < C, 1.0)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        tl.store(out + at, tl.where(value == peak, share, even), inside)


def mean_max(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, last = tiles.dense(x)
    cut = tiles.layout(x.shape, last, flat=True)
    means = tiles.partial_sums(cut.chunks, x.shape[:2], x)
    peaks = torch.empty_like(means)
    with tiles.on(x):
        if len(x):
            _forward[cut.grid](x, means, peaks, *cut.arguments, **cut.constants)
        mean = tiles.add_up(means, x.dtype)
    peak = peaks.amax(0).to(x.dtype)
    return mean, peak, peak.clone()


def mean_max_backward(grad_mean: Tensor, grad_peak: Tensor, x: Tensor, peak: Tensor) -> Tensor:
    x, last = tiles.dense(x)
    out = torch.empty_like(x)
    if not len(x):
        return out
    cut = tiles.layout(x.shape, last, flat=True)
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    counts = x.new_empty((cut.chunks, *x.shape[:2]), dtype=torch.float32)
    grads = grad_mean.contiguous(), grad_peak.contiguous()
    with tiles.on(x):
        _count[cut.grid](x, peak, counts, *cut.arguments, **cut.constants)
        counts = tiles.add_up(counts, torch.float32)
        _backward[fine.grid](*grads, x, peak, counts, out, *fine.arguments, **fine.constants)
    return out
