"""Triton's :mod:`mmattn.kernels.shuffle_gate`.

A program has channels of the result, which lie side by side there; what they come from are two
such rows of the map, one in each half of it.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles
from mmattn.kernels.triton.moments import moments


@triton.jit
def _source(to, n, C, width, means, scales, slopes, offsets):
    """Of the channels ``to`` of the result: what they come from and the terms of their gates.

    The gate of a place is sigmoid(level + rise d), d its distance from the plane's mean.
    """
    c = to % 2 * (C // 2) + to // 2
    of_group = c % width
    spatial = (of_group >= width // 2).to(tl.float32)
    mean = tl.load(means + n * C + c, to < C, 0.0)
    scale = tl.load(scales + n * C + c, to < C, 0.0)
    slope = tl.load(slopes + of_group, to < C, 0.0).to(tl.float32)
    offset = tl.load(offsets + of_group, to < C, 0.0).to(tl.float32)
    level = offset + (1 - spatial) * slope * mean
    return c, spatial, mean, scale, slope, level, spatial * slope * scale


@triton.jit(do_not_specialize=(*tiles.SIZES, 'width'))
def _forward(
    x, means, scales, slopes, offsets, out, width,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, to, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    c, _, mean, _, _, level, rise = _source(to, n, C, width, means, scales, slopes, offsets)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (to < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        gate = tl.sigmoid(level + rise * (value - mean))
        tl.store(out + tiles.offsets(n, to, h, w, C, H, W, LAST, FLAT), value * gate, inside)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'width'))
def _sums(
    grad, x, means, scales, slopes, offsets, sums, width,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Of each chunk: the sums of the gradient of what the sigmoid is of, and of that times d."""
    n, to, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    c, _, mean, _, _, level, rise = _source(to, n, C, width, means, scales, slopes, offsets)
    total = tl.zeros((BC, 1, 1), tl.float32)
    weighted = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (to < C) & (h < H)
        at = tiles.offsets(n, to, h, w, C, H, W, LAST, FLAT)
        of_out = tl.load(grad + at, inside, 0.0).to(tl.float32)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        gate = tl.sigmoid(level + rise * (value - mean))
        inner = of_out * value * gate * (1 - gate)
        total += tl.sum(inner, 1, keep_dims=True)
        weighted += tl.sum(inner * (value - mean), 1, keep_dims=True)
    at = (2 * chunk * N + n) * C + c
    tl.store(sums + at, total, to < C)
    tl.store(sums + at + N * C, weighted, to < C)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'width'))
def _backward(
    grad, x, means, scales, slopes, offsets, sums, grad_x, grad_slopes, width,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """``grad_slopes``: (N, C), of each plane."""
    n, to, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    c, spatial, mean, scale, slope, level, rise = _source(
        to, n, C, width, means, scales, slopes, offsets
    )
    total = tl.load(sums + n * C + c, to < C, 0.0)
    weighted = tl.load(sums + (N + n) * C + c, to < C, 0.0)
    of_slope = spatial * scale * weighted + (1 - spatial) * mean * total
    tl.store(grad_slopes + n * C + c, of_slope, (to < C) & (chunk == 0))
    # Through the mean and, of the normalised half, the variance.
    shift = ((1 - spatial) * slope - rise) * total / H
    bend = rise * scale * scale * weighted / H
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (to < C) & (h < H)
        at = tiles.offsets(n, to, h, w, C, H, W, LAST, FLAT)
        of_out = tl.load(grad + at, inside, 0.0).to(tl.float32)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        gate = tl.sigmoid(level + rise * (value - mean))
        result = of_out * gate * (1 + rise * value * (1 - gate)) + shift - bend * (value - mean)
        tl.store(grad_x + at, result, inside)


def shuffle_gate(x, slope, offset, groups, eps) -> Tensor:
    x, last = tiles.dense(x)
    out = torch.empty_like(x)
    if not len(x):
        return out
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    parameters = slope.contiguous(), offset.contiguous()
    with tiles.on(x):
        _forward[fine.grid](
            x, *moments(x, last, eps), *parameters, out, x.shape[1] // groups,
            *fine.arguments, **fine.constants,
        )  # fmt: skip
    return out


def shuffle_gate_backward(grad, x, slope, offset, groups, eps) -> tuple[Tensor, Tensor, Tensor]:
    x, last = tiles.dense(x)
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, torch.zeros_like(slope), torch.zeros_like(offset)
    n, c = x.shape[:2]
    width = c // groups
    cut = tiles.layout(x.shape, last, flat=True)
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    sums = x.new_empty((cut.chunks, 2, n, c), dtype=torch.float32)
    of_slope = x.new_empty((n, c), dtype=torch.float32)
    with tiles.on(x):
        inputs = (
            tiles.alike(grad, last), x, *moments(x, last, eps),
            slope.contiguous(), offset.contiguous(),
        )  # fmt: skip
        _sums[cut.grid](*inputs, sums, width, *cut.arguments, **cut.constants)
        sums = tiles.add_up(sums, torch.float32)
        _backward[fine.grid](
            *inputs, sums, grad_x, of_slope, width, *fine.arguments, **fine.constants
        )
        # Every group has the same parameters.
        grads = (of.view(n * groups, width).sum(0) for of in (of_slope, sums[0]))
        return grad_x, *(of.to(x.dtype).view(slope.shape) for of in grads)
