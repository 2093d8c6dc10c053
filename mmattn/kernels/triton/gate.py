"""Triton's :mod:`mmattn.kernels.gate`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.gate import _backward as pure_backward
from mmattn.kernels.triton import tiles


@triton.jit
def joined(x, a, b, JOIN: tl.constexpr):
    """The factor of x where 'max' or 'add' join two gates, and the shares of each in it."""
    if JOIN == 'add':
        factor, first, second = a + b, a * 0 + 1.0, b * 0 + 1.0
    else:
        first = tl.where(x > 0, a > b, a < b).to(tl.float32)
        first = tl.where((a == b) | (x == 0), 0.5, first)
        second = 1 - first
        factor = tl.where(first == 1, a, tl.where(first == 0, b, 0.5 * (a + b)))
    return factor, first, second


@triton.jit(do_not_specialize=(*tiles.SIZES, 'P'))
def _forward(
    x, rows, columns, channels, planes, scale, out, P,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    JOIN: tl.constexpr,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    fixed = tl.full((1, 1, 1), 1.0, tl.float32)
    if columns is not None:
        column = tl.load(columns + (n * C + c) * W + w, (c < C) & (w < W), 0.0)
        fixed = fixed * column.to(tl.float32)
    if channels is not None:
        a = tl.load(channels + n * C + c, c < C, 0.0).to(tl.float32)
        if JOIN == 'product':
            fixed = fixed * a
    plane = n * P + c // (C // P)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        factor = fixed
        if rows is not None:
            row = tl.load(rows + (n * C + c) * H + h, (c < C) & (h < H), 0.0)
            factor = factor * row.to(tl.float32)
        if planes is not None:
            b = tl.load(planes + (plane * H + h) * W + w, inside, 0.0).to(tl.float32)
            if JOIN == 'product':
                factor = factor * b
            else:
                factor, _, _ = joined(value, a, b, JOIN)
        result = value * factor
        if scale is not None:
            result = value + tl.load(scale) * (result - value)
        tl.store(out + at, result, inside)


@triton.jit(do_not_specialize=tiles.SIZES)
def _backward(
    grad, x, rows, columns, channels, scale,
    grad_x, grad_rows, grad_columns, grad_channels, grad_scale,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    column = tl.full((1, 1, 1), 1.0, tl.float32)
    a = tl.full((1, 1, 1), 1.0, tl.float32)
    s = tl.full((1, 1, 1), 1.0, tl.float32)
    if columns is not None:
        column = tl.load(columns + (n * C + c) * W + w, (c < C) & (w < W), 0.0).to(tl.float32)
    if channels is not None:
        a = tl.load(channels + n * C + c, c < C, 0.0).to(tl.float32)
    if scale is not None:
        s = s * tl.load(scale)
    of_columns = tl.zeros((BC, 1, BW), tl.float32)
    of_channels = tl.zeros((BC, 1, 1), tl.float32)
    of_scale = tl.zeros((BC, BH, BW), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H) & (w < W)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(grad + at, inside, 0.0).to(tl.float32)
        product = value * tl.load(x + at, inside, 0.0).to(tl.float32)
        row = tl.full((1, 1, 1), 1.0, tl.float32)
        if rows is not None:
            row = tl.load(rows + (n * C + c) * H + h, (c < C) & (h < H), 0.0).to(tl.float32)
        factor = row * column * a
        if scale is not None:
            of_scale += product * (factor - 1)
            factor = 1 + s * (factor - 1)
        if grad_x is not None:
            tl.store(grad_x + at, value * factor, inside)
        by_row = tl.sum(product * column, 2, keep_dims=True) * s
        if rows is not None:
            row_at = ((w_block * N + n) * C + c) * H + h
            tl.store(grad_rows + row_at, by_row * a, (c < C) & (h < H))
        if columns is not None:
            of_columns += tl.sum(product * row, 1, keep_dims=True)
        if channels is not None:
            of_channels += tl.sum(by_row * row, 1, keep_dims=True)
    if columns is not None:
        column_at = ((chunk * N + n) * C + c) * W + w
        tl.store(grad_columns + column_at, of_columns * a * s, (c < C) & (w < W))
    if channels is not None:
        channel_at = ((chunk * w_blocks + w_block) * N + n) * C + c
        tl.store(grad_channels + channel_at, of_channels, c < C)
    if scale is not None:
        tl.store(grad_scale + tl.program_id(0), tl.sum(of_scale))


@triton.jit(do_not_specialize=('N', 'P', 'G', 'S', 'parts', 's_blocks', 'steps'))
def _backward_planes(
    grad, x, channels, planes, scale, grad_x, grad_channels, grad_planes, grad_scale,
    N, P, G, S, parts, s_blocks, steps,
    JOIN: tl.constexpr, LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """A program walks down the G channels of one of the N P planes, at a block of positions."""
    s_block, part, plane = tiles.column_place(parts, s_blocks, IS_WIDE)
    G, S = tiles.column_sizes(G, S, LAST, ALIGN)
    position = s_block * BS + tl.arange(0, BS)[None, :]
    b = tl.load(planes + plane * S + position, position < S, 0.0).to(tl.float32)
    s = tl.full((1, 1), 1.0, tl.float32)
    if scale is not None:
        s = s * tl.load(scale)
    of_plane = tl.zeros((1, BS), tl.float32)
    of_scale = tl.zeros((BC, BS), tl.float32)
    for step in range(steps):
        c = (part * steps + step) * BC + tl.arange(0, BC)[:, None]
        inside = (c < G) & (position < S)
        channel = plane * G + c
        if LAST:
            at = (plane // P * S + position) * (G * P) + plane % P * G + c
        else:
            at = channel * S + position
        value = tl.load(grad + at, inside, 0.0).to(tl.float32)
        raw = tl.load(x + at, inside, 0.0).to(tl.float32)
        product = value * raw
        a = tl.full((1, 1), 1.0, tl.float32)
        if channels is not None:
            a = tl.load(channels + channel, c < G, 0.0).to(tl.float32)
        if JOIN == 'product':
            factor, to_a, to_b = a * b, b, a
        else:
            factor, to_a, to_b = joined(raw, a, b, JOIN)
        if scale is not None:
            of_scale += product * (factor - 1)
            factor = 1 + s * (factor - 1)
        tl.store(grad_x + at, value * factor, inside)
        of_plane += tl.sum(product * to_b, 0, keep_dims=True) * s
        if channels is not None:
            of_a = tl.sum(product * to_a, 1, keep_dims=True) * s
            tl.store(grad_channels + s_block * (N * P * G) + channel, of_a, c < G)
    tl.store(grad_planes + (part * (N * P) + plane) * S + position, of_plane, position < S)
    if scale is not None:
        tl.store(grad_scale + tl.program_id(0), tl.sum(of_scale))


def gate(x, rows, columns, channels, planes, scale, join) -> Tensor:
    x, last = tiles.dense(x)
    gates = [g if g is None else g.contiguous() for g in (rows, columns, channels, planes, scale)]
    flat = rows is None and columns is None
    cut = tiles.layout(x.shape, last, flat, sums=False)
    out = torch.empty_like(x)
    groups = 1 if planes is None else planes.shape[1]
    with tiles.on(x):
        if len(x):
            _forward[cut.grid](x, *gates, out, groups, *cut.arguments, JOIN=join, **cut.constants)
    return out


def gate_backward(grad, x, rows, columns, channels, planes, scale, join) -> tuple[Tensor, ...]:
    strips = rows is not None or columns is not None
    x, last = tiles.dense(x)
    if strips and planes is not None:
        # No attention has both.
        gates = [g if g is None else g.float() for g in (rows, columns, channels, planes)]
        *grads, of_scale = pure_backward(grad.float(), x.float(), *gates, scale, join)
        grad_x, *others = (part.to(x.dtype) for part in grads)
        return tiles.alike(grad_x, last), *others, of_scale
    grad = tiles.alike(grad, last)
    gates = [g if g is None else g.contiguous() for g in (rows, columns, channels, planes, scale)]
    rows, columns, channels, planes, scale = gates
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, *(x.new_empty(0) if g is None else torch.zeros_like(g) for g in gates)
    if planes is None:
        sums, of_scale = gradients(grad, x, last, gates[:3], scale, grad_x)
        sums = *sums, None
    else:
        sums, of_scale = _with_planes(grad, x, last, channels, planes, scale, join, grad_x)
    of_scale = None if scale is None else of_scale.sum().reshape(scale.shape)
    return grad_x, *(x.new_empty(0) if total is None else total for total in (*sums, of_scale))


def gradients(grad, x, last, gates, scale, grad_x=None) -> tuple[list, Tensor | None]:
    """Of rows, columns and channels, in their dtype; of the scale, one sum a program.

    And where there is room for it of the map.
    """
    strips = gates[0] is not None or gates[1] is not None
    cut = tiles.layout(x.shape, last, not strips)
    parts = cut.w_blocks, cut.chunks, cut.chunks * cut.w_blocks
    sums = [
        None if g is None else tiles.partial_sums(part, g.shape, g)
        for g, part in zip(gates, parts, strict=True)
    ]
    of_scale = None if scale is None else x.new_empty(cut.grid, dtype=torch.float32)
    with tiles.on(x):
        _backward[cut.grid](
            grad, x, *gates, scale, grad_x, *sums, of_scale, *cut.arguments, **cut.constants
        )
        return [
            None if g is None else tiles.add_up(part, g.dtype)
            for g, part in zip(gates, sums, strict=True)
        ], of_scale


def _with_planes(grad, x, last, channels, planes, scale, join, grad_x):
    n, c, h, w = x.shape
    groups = planes.shape[1]
    cut = tiles.columns(n, groups, c // groups, h * w, last)
    of_planes = tiles.partial_sums(cut.parts, planes.shape, x)
    of_channels = None if channels is None else tiles.partial_sums(cut.s_blocks, (n, c), x)
    of_scale = None if scale is None else x.new_empty(cut.grid, dtype=torch.float32)
    with tiles.on(x):
        _backward_planes[cut.grid](
            grad, x, channels, planes, scale, grad_x, of_channels, of_planes, of_scale,
            *cut.arguments, JOIN=join, **cut.constants,
        )  # fmt: skip
        of_channels = None if channels is None else tiles.add_up(of_channels, x.dtype)
        return (None, None, of_channels, tiles.add_up(of_planes, x.dtype)), of_scale
