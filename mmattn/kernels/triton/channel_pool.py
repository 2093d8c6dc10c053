"""Triton's :mod:`mmattn.kernels.channel_pool`: a program has all channels of some positions."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles

ARGUMENTS = ('N', 'P', 'G', 'S', 'parts', 's_blocks', 'steps')


@triton.jit(do_not_specialize=ARGUMENTS)
def _forward(
    x, channels, out, peaks, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    s_block, part, n = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    total = tl.zeros((1, BS), tl.float32)
    peak = tl.full((1, BS), float('-inf'), tl.float32)
    for step in range(steps):
        c = step * BC + tl.arange(0, BC)[:, None]
        inside = (c < G) & (position < S)
        at = (n * S + position) * G + c if LAST else (n * G + c) * S + position
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        value = value * tl.load(channels + n * G + c, c < G, 0.0).to(tl.float32)
        total += tl.sum(value, 0, keep_dims=True)
        value = tl.where(inside, value, float('-inf'))
        peak = tl.maximum(peak, tl.max(value, 0, keep_dims=True))
    # A maximum of NaNs is none of them; a sum is.
    peak = tl.where(total == total, peak, total)
    tl.store(peaks + n * S + position, peak, position < S)
    tl.store(out + 2 * n * S + position, peak, position < S)
    tl.store(out + (2 * n + 1) * S + position, total / G, position < S)


@triton.jit(do_not_specialize=ARGUMENTS)
def _backward(
    grad, x, channels, peaks, grad_x, grad_channels, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    s_block, part, n = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    peak = tl.load(peaks + n * S + position, position < S, 0.0)
    count = tl.zeros((1, BS), tl.float32)
    for step in range(steps):
        c = step * BC + tl.arange(0, BC)[:, None]
        inside = (c < G) & (position < S)
        at = (n * S + position) * G + c if LAST else (n * G + c) * S + position
        gate = tl.load(channels + n * G + c, c < G, 0.0).to(tl.float32)
        value = tl.load(x + at, inside, 0.0).to(tl.float32) * gate
        count += tl.sum((inside & (value == peak)).to(tl.float32), 0, keep_dims=True)
    share = tl.load(grad + 2 * n * S + position, position < S, 0.0).to(tl.float32)
    share = share / tl.maximum(count, 1.0)
    even = tl.load(grad + (2 * n + 1) * S + position, position < S, 0.0).to(tl.float32) / G
    for step in range(steps):
        c = step * BC + tl.arange(0, BC)[:, None]
        inside = (c < G) & (position < S)
        at = (n * S + position) * G + c if LAST else (n * G + c) * S + position
        gate = tl.load(channels + n * G + c, c < G, 0.0).to(tl.float32)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        gradient = even + tl.where(value * gate == peak, share, 0.0)
        tl.store(grad_x + at, gradient * gate, inside)
        of_gate = tl.sum(tl.where(inside, gradient * value, 0.0), 1, keep_dims=True)
        tl.store(grad_channels + (s_block * N + n) * G + c, of_gate, c < G)


def channel_pool(x: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    out = x.new_empty((n, 2, h, w))
    peaks = x.new_empty((n, 1, h, w), dtype=torch.float32)
    cut = tiles.columns(n, 1, c, h * w, last, whole=True)
    with tiles.on(x):
        if n:
            _forward[cut.grid](
                x, channels.contiguous(), out, peaks, *cut.arguments, **cut.constants
            )
    return out.contiguous(memory_format=tiles.FORMATS[last]), peaks


def channel_pool_backward(grad, x, channels, peak) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    grad_x = torch.empty_like(x)
    cut = tiles.columns(n, 1, c, h * w, last, whole=True)
    sums = tiles.partial_sums(cut.s_blocks, (n, c), x)
    inputs = grad.contiguous(), x, channels.contiguous(), peak.contiguous()
    with tiles.on(x):
        if n:
            _backward[cut.grid](*inputs, grad_x, sums, *cut.arguments, **cut.constants)
        return grad_x, tiles.add_up(sums, x.dtype)
