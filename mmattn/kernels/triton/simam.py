"""Triton's :mod:`mmattn.kernels.simam`.

Every kernel walks over a chunk of some planes; what the next one needs of a whole plane is in
sums of the chunks, which it adds up itself.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit(do_not_specialize=tiles.SIZES)
def _moments(
    x, moments,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Of each chunk: the mean, and the sum of squares around it."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    total = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, (c < C) & (h < H), 0.0).to(tl.float32)
        total += tl.sum(value, 1, keep_dims=True)
    mean = total / tl.minimum(H - first, steps * BH)
    squares = tl.zeros((BC, 1, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        distance = tl.where(inside, value - mean, 0.0)
        squares += tl.sum(distance * distance, 1, keep_dims=True)
    at = (chunk * N + n) * C + c
    tl.store(moments + at, mean, c < C)
    tl.store(moments + chunks * N * C + at, squares, c < C)


@triton.jit
def _whole(moments, parts, part_rows, n, c, N, C, H, e_lambda, BC: tl.constexpr):
    """The mean of each plane and 1 / (2 sqrt(variance + e_lambda))."""
    mean = tl.zeros((BC, 1, 1), tl.float32)
    for part in range(parts):
        rows = tl.minimum(H - part * part_rows, part_rows)
        mean += tl.load(moments + (part * N + n) * C + c, c < C, 0.0) * rows / H
    squares = tl.zeros((BC, 1, 1), tl.float32)
    for part in range(parts):
        rows = tl.minimum(H - part * part_rows, part_rows)
        part_at = (part * N + n) * C + c
        distance = tl.load(moments + part_at, c < C, 0.0) - mean
        squares += tl.load(moments + parts * N * C + part_at, c < C, 0.0)
        squares += distance * distance * rows
    return mean, tl.rsqrt(4 * (squares / tl.maximum(H - 1, 1) + e_lambda))


@triton.jit(do_not_specialize=(*tiles.SIZES, 'parts', 'part_rows', 'e_lambda'))
def _forward(
    x, scale, out, moments, parts, part_rows, e_lambda,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    mean, unit = _whole(moments, parts, part_rows, n, c, N, C, H, e_lambda, BC)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        q = (value - mean) * unit
        result = value * tl.sigmoid(q * q + 0.5)
        if scale is not None:
            result = value + tl.load(scale) * (result - value)
        tl.store(out + at, result, inside)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'parts', 'part_rows', 'e_lambda'))
def _sums(
    grad, x, scale, sums, grad_scale, moments, parts, part_rows, e_lambda,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Of each chunk: the sums of the gradient of q, and of its product with q."""
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    mean, unit = _whole(moments, parts, part_rows, n, c, N, C, H, e_lambda, BC)
    total = tl.zeros((BC, 1, 1), tl.float32)
    weighted = tl.zeros((BC, 1, 1), tl.float32)
    of_scale = tl.zeros((BC, BH, 1), tl.float32)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        product = tl.load(grad + at, inside, 0.0).to(tl.float32) * value
        q = (value - mean) * unit
        rest = tl.sigmoid(-q * q - 0.5)
        inner = product * rest * (1 - rest) * 2 * q
        total += tl.sum(inner, 1, keep_dims=True)
        weighted += tl.sum(inner * q, 1, keep_dims=True)
        of_scale -= product * rest
    s = tl.full((1, 1, 1), 1.0, tl.float32)
    if scale is not None:
        s = s * tl.load(scale)
        tl.store(grad_scale + tl.program_id(0), tl.sum(of_scale))
    at_end = (chunk * N + n) * C + c
    tl.store(sums + at_end, total * s, c < C)
    tl.store(sums + chunks * N * C + at_end, weighted * s, c < C)


@triton.jit(do_not_specialize=(*tiles.SIZES, 'parts', 'part_rows', 'e_lambda'))
def _backward(
    grad, x, scale, sums, grad_x, moments, parts, part_rows, e_lambda,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    mean, unit = _whole(moments, parts, part_rows, n, c, N, C, H, e_lambda, BC)
    of_mean = tl.zeros((BC, 1, 1), tl.float32)
    slope = tl.zeros((BC, 1, 1), tl.float32)
    for part in range(parts):
        part_at = (part * N + n) * C + c
        of_mean += tl.load(sums + part_at, c < C, 0.0)
        slope += tl.load(sums + parts * N * C + part_at, c < C, 0.0)
    of_mean = of_mean / H
    slope = slope * 4 / tl.maximum(H - 1, 1)
    s = tl.full((1, 1, 1), 1.0, tl.float32)
    if scale is not None:
        s = s * tl.load(scale)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = (c < C) & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        value = tl.load(x + at, inside, 0.0).to(tl.float32)
        of_out = tl.load(grad + at, inside, 0.0).to(tl.float32)
        q = (value - mean) * unit
        rest = tl.sigmoid(-q * q - 0.5)
        inner = of_out * value * rest * (1 - rest) * 2 * q * s
        result = (inner - of_mean - q * slope) * unit + of_out * (1 - s * rest)
        tl.store(grad_x + at, result, inside)


def _moments_of(x: Tensor, last: bool) -> tuple[tiles.Layout, Tensor, int]:
    cut = tiles.layout(x.shape, last, flat=True)
    moments = x.new_empty((2, cut.chunks, *x.shape[:2]), dtype=torch.float32)
    _moments[cut.grid](x, moments, *cut.arguments, **cut.constants)
    return cut, moments, cut.steps * cut.constants['BH']


def simam(x: Tensor, scale: Tensor | None, e_lambda: float) -> Tensor:
    x, last = tiles.dense(x)
    out = torch.empty_like(x)
    if not len(x):
        return out
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    with tiles.on(x):
        cut, moments, rows = _moments_of(x, last)
        _forward[fine.grid](
            x, scale, out, moments, cut.chunks, rows, e_lambda, *fine.arguments, **fine.constants
        )
    return out


def simam_backward(grad, x, scale, e_lambda) -> tuple[Tensor, Tensor]:
    x, last = tiles.dense(x)
    grad = tiles.alike(grad, last)
    grad_x = torch.empty_like(x)
    if not len(x):
        return grad_x, x.new_empty(0) if scale is None else torch.zeros_like(scale)
    fine = tiles.layout(x.shape, last, flat=True, sums=False)
    with tiles.on(x):
        cut, moments, rows = _moments_of(x, last)
        sums = torch.empty_like(moments)
        of_scale = None if scale is None else x.new_empty(cut.grid, dtype=torch.float32)
        whole = moments, cut.chunks, rows, e_lambda
        _sums[cut.grid](grad, x, scale, sums, of_scale, *whole, *cut.arguments, **cut.constants)
        _backward[fine.grid](
            grad, x, scale, sums, grad_x, *whole, *fine.arguments, **fine.constants
        )
    none = x.new_empty(0)
    return grad_x, none if scale is None else of_scale.sum().reshape(scale.shape)
