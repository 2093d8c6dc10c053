"""Triton's :mod:`mmattn.kernels.project`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit(do_not_specialize=(*tiles.SIZES, 'group'))
def _forward(
    x, planes, out, group,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    total = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        value *= tl.load(planes + c // group * H + h, inside, 0.0)
        total += tl.sum(value, 1, keep_dims=True)
    tl.store(out + (chunk * N + n) * C + c, total, c < C)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'group'))
def _backward(
    grad, planes, out, group,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    of_channel = tl.load(grad + n * C + c, c < C, 0.0).to(tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        value = of_channel * tl.load(planes + c // group * H + h, inside, 0.0)
        tl.store(out + tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT), value, inside)


@triton.jit(do_not_specialize=('N', 'P', 'G', 'S', 'parts', 's_blocks', 'steps'))
def _of_planes(
    grad, x, out, N, P, G, S, parts, s_blocks, steps,
    LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """A program walks down the G channels of one of the N P planes, at a block of positions."""
    s_block, part, plane = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    total = tl.zeros((BC, BS), tl.float32)
    for step in range(steps):
        c = (part * steps + step) * BC + tl.arange(0, BC)[:, None]
        if LAST:
            at = (plane // P * S + position) * (G * P) + plane % P * G + c
        else:
            at = (plane * G + c) * S + position
        value = tl.load(x + at, (c < G) & (position < S), 0.0).to(tl.float32)
        total += value * tl.load(grad + plane * G + c, c < G, 0.0).to(tl.float32)
    to = out + (part * (N * P) + plane) * S + position
    tl.store(to, tl.sum(total, 0, keep_dims=True), position < S)


def project(x: Tensor, planes: Tensor, learned: bool) -> Tensor:
    x, last = tiles.dense(x)
    cut = tiles.layout(x.shape, last, flat=True)
    sums = tiles.partial_sums(cut.chunks, x.shape[:2], x)
    group = x.shape[1] // len(planes)
    with tiles.on(x):
        if len(x):
            _forward[cut.grid](x, planes.contiguous(), sums, group, *cut.arguments, **cut.constants)
        return tiles.add_up(sums, x.dtype)


def project_backward(grad, x, planes, learned) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, torch.zeros_like(planes)
    n, c, h, w = x.shape
    groups = len(planes)
    grad, planes = grad.contiguous(), planes.contiguous()
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    with tiles.on(x):
        _backward[fine.grid](grad, planes, grad_x, c // groups, *fine.arguments, **fine.constants)
        if not learned:
            return grad_x, torch.zeros_like(planes)
        cut = tiles.columns(n, groups, c // groups, h * w, last)
        sums = planes.new_empty((cut.parts * n, *planes.shape))
        _of_planes[cut.grid](grad, x, sums, *cut.arguments, **cut.constants)
        return grad_x, sums.sum(0)
