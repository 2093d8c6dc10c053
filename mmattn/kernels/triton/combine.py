"""Triton's :mod:`mmattn.kernels.combine`: a program has all channels of some positions."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles

ARGUMENTS = ('N', 'P', 'G', 'S', 'parts', 's_blocks', 'steps')


@triton.jit(do_not_specialize=ARGUMENTS)
def _forward(
    x, weights, out, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    s_block, part, n = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    total = tl.zeros((1, BS), tl.float32)
    for step in range(steps):
        c = step * BC + tl.arange(0, BC)[:, None]
        at = (n * S + position) * G + c if LAST else (n * G + c) * S + position
        value = tl.load(x + at, (c < G) & (position < S), 0.0).to(tl.float32)
        total += tl.sum(value * tl.load(weights + c, c < G, 0.0), 0, keep_dims=True)
    tl.store(out + n * S + position, total, position < S)


@triton.jit(do_not_specialize=ARGUMENTS)
def _backward(
    grad, x, weights, grad_x, sums, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """``sums``: (N * s_blocks, C), of each program."""
    s_block, part, n = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    of_plane = tl.load(grad + n * S + position, position < S, 0.0).to(tl.float32)
    for step in range(steps):
        c = step * BC + tl.arange(0, BC)[:, None]
        inside = (c < G) & (position < S)
        at = (n * S + position) * G + c if LAST else (n * G + c) * S + position
        value = tl.load(x + at, inside, 0.0).to(tl.float32) * of_plane
        tl.store(sums + (n * s_blocks + s_block) * G + c, tl.sum(value, 1, keep_dims=True), c < G)
        tl.store(grad_x + at, of_plane * tl.load(weights + c, c < G, 0.0), inside)


def combine(x: Tensor, weights: Tensor) -> Tensor:
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    out = x.new_empty((n, 1, h, w))
    cut = tiles.columns(n, 1, c, h * w, last, whole=True)
    with tiles.on(x):
        if n:
            _forward[cut.grid](x, weights.contiguous(), out, *cut.arguments, **cut.constants)
    return out.contiguous(memory_format=tiles.FORMATS[last])


def combine_backward(grad: Tensor, x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    grad_x = torch.empty_like(x)
    if not n:
        return grad_x, torch.zeros_like(weights)
    cut = tiles.columns(n, 1, c, h * w, last, whole=True)
    sums = weights.new_empty((n * cut.s_blocks, c))
    inputs = grad.contiguous(), x, weights.contiguous()
    with tiles.on(x):
        _backward[cut.grid](*inputs, grad_x, sums, *cut.arguments, **cut.constants)
        return grad_x, tiles.add_up(sums, weights.dtype)
