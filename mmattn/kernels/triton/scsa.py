"""Triton's :mod:`mmattn.kernels.scsa`.

Forward: means of the strips; their gates; means of the windows of the gated map, which is not
written; the gate of the channels; the map times its gates. Backward: the same small steps the
other way between passes over the map: (gradient, map) for the sums of the gates, (map) for what
the windows give to the gates of the strips, (gradient) for the gradient of the map.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import gate, means, tiles, windows
from mmattn.kernels.triton import scsa_attention as attention
from mmattn.kernels.triton import scsa_strips as strips


@functools.lru_cache(64)
def _table(sizes: tuple[int, ...], channels: int, device: torch.device) -> Tensor:
    """Of each group: its kernel size, and where its weights begin."""
    width = channels // len(sizes)
    starts = [width * sum(sizes[:group]) for group in range(len(sizes))]
    return torch.tensor(list(zip(sizes, starts, strict=True)), dtype=torch.int32, device=device)


class _Blocks:
    """Tiles and grids of the steps between the passes."""

    def __init__(self, shape: torch.Size, sizes: tuple[int, ...], heads: int, count: int) -> None:
        n, c, h, w = shape
        bl = tiles.block(max(h, w), 128)
        bc = tiles.block(c // len(sizes), tiles.ELEMENTS // bl)
        self.strips = dict(BC=bc, BL=bl, num_warps=4)
        self.strips_grid = n * len(sizes), 2
        # Products of few values are added up without tl.dot, which takes 16 at least.
        dot = count > 8
        bp = max(16, tiles.block(count, 32)) if dot else tiles.block(count, 8)
        self.attention = dict(BM=16, BN=32 if dot else 64, BP=bp, DOT=dot, num_warps=4)
        self.blocks = -(-(c // heads) // 16)
        self.parts = -(-count // bp)
        self.attention_grid = (n * heads * self.blocks,)
        self.norm_grid = n, -(-count * c // 1024)


_blocks = functools.lru_cache(4096)(_Blocks)


@triton.jit(do_not_specialize=(*tiles.SIZES, *windows.WINDOWS))
def _map_gradient(
    grad, rows, columns, channels, scale, to_pooled, to_rows, to_columns, out,
    rows_of, columns_of, height, width, n_stride, p_stride, c_stride,
    N, C, H, W, c_blocks, w_blocks, chunks, steps,
    LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    n, c, w, w_block, chunk, first = tiles.place(c_blocks, w_blocks, chunks, steps, BC, BH, BW)
    n, C, H, W = tiles.sizes(n, C, H, W, LAST, FLAT, ALIGN, IS_WIDE)
    mask = (c < C) & (w < W)
    column = tl.load(columns + (n * C + c) * W + w, mask, 0.0)
    to_column = tl.load(to_columns + (n * C + c) * W + w, mask, 0.0) / H
    a = tl.load(channels + n * C + c, c < C, 0.0)
    for step in range(steps):
        h = first + step * BH + tl.arange(0, BH)[None, :, None]
        inside = mask & (h < H)
        at = tiles.offsets(n, c, h, w, C, H, W, LAST, FLAT)
        row_at = (n * C + c) * H + h
        row = tl.load(rows + row_at, (c < C) & (h < H), 0.0)
        to_row = tl.load(to_rows + row_at, (c < C) & (h < H), 0.0) / W
        value = tl.load(grad + at, inside, 0.0).to(tl.float32)
        d = windows.spread(
            to_pooled, n, c, h, w, C,
            rows_of, columns_of, height, width, n_stride, p_stride, c_stride,
        )  # fmt: skip
        both = row * column
        result = d * both + to_row + to_column
        if scale is not None:
            result += value * (1 + tl.load(scale) * (both * a - 1))
        else:
            result += value * both * a
        tl.store(out + at, result, inside)


@triton.jit(do_not_specialize=('N', 'parts', 'C', 'T'))
def _parameters(
    strip_sums, window_sums, weight, bias, wh, bh, ww, bw, wp, bp, q, k, v, N, parts, C, T,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums over the batch, in order, of every parameter's gradient."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    size = T + 3 * C
    of_rows = tl.zeros((BLOCK,), tl.float32)
    of_columns = tl.zeros((BLOCK,), tl.float32)
    at = strip_sums + i
    for _ in range(N):
        of_rows += tl.load(at, i < size, 0.0)
        of_columns += tl.load(at + size, i < size, 0.0)
        at += 2 * size
    of_windows = tl.zeros((BLOCK,), tl.float32)
    at = window_sums + i
    for _ in range(N * parts):
        of_windows += tl.load(at, i < 5 * C, 0.0)
        at += 5 * C
    tl.store(weight + i, of_rows + of_columns, i < T)
    tl.store(bias + i - T, of_rows + of_columns, (i >= T) & (i < T + C))
    tl.store(wh + i - T - C, of_rows, (i >= T + C) & (i < T + 2 * C))
    tl.store(bh + i - T - 2 * C, of_rows, (i >= T + 2 * C) & (i < size))
    tl.store(ww + i - T - C, of_columns, (i >= T + C) & (i < T + 2 * C))
    tl.store(bw + i - T - 2 * C, of_columns, (i >= T + 2 * C) & (i < size))
    tl.store(wp + i, of_windows, i < C)
    tl.store(bp + i - C, of_windows, (i >= C) & (i < 2 * C))
    tl.store(q + i - 2 * C, of_windows, (i >= 2 * C) & (i < 3 * C))
    tl.store(k + i - 3 * C, of_windows, (i >= 3 * C) & (i < 4 * C))
    tl.store(v + i - 4 * C, of_windows, (i >= 4 * C) & (i < 5 * C))


def _strip_gates(x, sources, strides, parameters, sizes, eps, blocks, kept=None):
    """Gates of rows and columns; logits and statistics, which the gradient needs."""
    n, c, h, w = x.shape
    weight, bias, wh, bh, ww, bw = parameters[:6]
    like = bias.new_empty
    rows, columns, logits_h, logits_w = (like((n, c, length)) for length in (h, w, h, w))
    stats = like((n, len(sizes), 4))
    strips.gates[blocks.strips_grid](
        *sources, *strides, weight, _table(sizes, c, x.device), bias, wh, bh, ww, bw, *eps[:2],
        rows, columns, logits_h, logits_w, stats, kept, n, c, h, w, len(sizes), len(weight),
        **blocks.strips,
    )  # fmt: skip
    return rows, columns, logits_h, logits_w, stats


def scsa(x, *arguments) -> tuple[Tensor, Tensor, Tensor]:
    *parameters, scale, sizes, heads, window, factor, eps = arguments
    parameters = [parameter.contiguous() for parameter in parameters]
    x, last = tiles.dense(x)
    n, c, h, w = x.shape
    sizes = tuple(sizes)
    places = windows.grid_of(x.shape, window, True, 1)
    count = places[0] * places[1]
    like = parameters[0].new_empty
    kept_strips, kept = like((n, h + w, c)), like((n, count + 1, c))
    if not n:
        return torch.empty_like(x), kept_strips, kept
    blocks = _blocks(x.shape, sizes, heads, count)
    with tiles.on(x):
        sources = means.means_in(x, last, torch.float32)
        rows, columns, *_ = _strip_gates(
            x, sources, (c * h, h, 1, c * w, w, 1), parameters, sizes, eps, blocks, kept_strips
        )
        windows.means_into(kept, x, last, rows, columns, places)
        channels, stats = like((n, c)), like((n, 2))
        attention.attention[blocks.attention_grid](
            kept, *parameters[6:], kept, channels, None, stats, c, count, heads, factor, eps[2],
            blocks.blocks, **blocks.attention,
        )  # fmt: skip
        out = gate.gate(x, rows, columns, channels, None, scale, 'product')
    return out, kept_strips, kept


def scsa_backward(grad, x, *arguments) -> tuple[Tensor, ...]:
    *parameters, scale, sizes, heads, window, factor, eps, kept_strips, kept = arguments
    parameters = [parameter.contiguous() for parameter in parameters]
    x, last = tiles.dense(x)
    grad = tiles.alike(grad, last)
    grad_x = torch.empty_like(x)
    to_parameters = [torch.empty_like(parameter) for parameter in parameters]
    n, c, h, w = x.shape
    if not n:
        zeros = [parameter.zero_() for parameter in to_parameters]
        return grad_x, *zeros, x.new_empty(0) if scale is None else torch.zeros_like(scale)
    sizes = tuple(sizes)
    places = windows.grid_of(x.shape, window, True)
    count, total = places[0] * places[1], len(parameters[0])
    blocks = _blocks(x.shape, sizes, heads, count)
    like = parameters[0].new_empty
    weight, _, wh, _, ww, _, *of_windows = parameters
    with tiles.on(x):
        length = (h + w) * c
        sources = kept_strips, kept_strips[:, h:]
        rows, columns, *saved = _strip_gates(
            x, sources, (length, 1, c, length, 1, c), parameters, sizes, eps, blocks
        )
        channels, lse, stats = like((n, c)), like((n, c)), like((n, 2))
        attention.attention[blocks.attention_grid](
            kept, *of_windows, None, channels, lse, stats, c, count, heads, factor, eps[2],
            blocks.blocks, **blocks.attention,
        )  # fmt: skip
        sums, of_scale = gate.gradients(grad, x, last, (rows, columns, channels), scale)
        to_rows, to_columns, to_channels = sums
        to_normal, to_pooled = like((n, count, c)), like((n, count, c))
        window_sums = like((n * blocks.parts, 5, c))
        attention.attention_backward[(*blocks.attention_grid, blocks.parts)](
            kept, *of_windows, channels, lse, stats, to_channels, to_normal, window_sums,
            c, count, heads, factor, blocks.blocks, blocks.parts, **blocks.attention,
        )  # fmt: skip
        attention.norm_backward[blocks.norm_grid](
            kept, to_normal, window_sums, of_windows[0], stats, to_pooled, c, count, blocks.parts,
            BLOCK=1024, num_warps=4,
        )  # fmt: skip
        more = windows.gates_gradients(to_pooled, x, last, rows, columns, places)
        strip_sums = like((n, 2, total + 3 * c))
        of_strips = like((n, c, h)), like((n, c, w))
        strips.gates_backward[blocks.strips_grid](
            to_rows, to_columns, *more, kept_strips, weight, _table(sizes, c, x.device), wh, ww,
            rows, columns, *saved, *of_strips, strip_sums, n, c, h, w, len(sizes), total,
            **blocks.strips,
        )  # fmt: skip
        fine = tiles.layout(x.shape, last, sums=False)
        _map_gradient[fine.grid](
            grad, rows, columns, channels, scale, to_pooled, *of_strips, grad_x, *places,
            *fine.arguments, **fine.constants,
        )  # fmt: skip
        most = max(total + 3 * c, 5 * c)
        _parameters[(triton.cdiv(most, 256),)](
            strip_sums, window_sums, *to_parameters, n, blocks.parts, c, total, BLOCK=256
        )
    of_scale = x.new_empty(0) if scale is None else of_scale.sum().reshape(scale.shape)
    return grad_x, *to_parameters, of_scale
