"""How a map is cut into tiles, one program each, in either memory format.

A program takes a block of channels and of columns and walks down the rows of its chunk. Sizes
are arguments of the compiled kernel, only blocks (powers of two) and flags are constants of it:
a detector's changing image sizes compile nothing anew. Nothing is tuned when it first runs.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# Elements of a tile: 16 a thread at four warps.
ELEMENTS = 2048
# Programs that fill a GPU: a plane is cut into chunks only up to this number.
PROGRAMS = 1024
# A chunk that ends in sums of columns has this many rows, or they would be as large as the map.
ROWS = 8
# Beyond as many elements offsets have 64 bits.
WIDE = 2**31 - 2**24

# The arguments that :meth:`Layout.arguments` holds; none is worth a compilation of its own.
SIZES = ('N', 'C', 'H', 'W', 'c_blocks', 'w_blocks', 'chunks', 'steps')


# By whether the channels are last.
FORMATS = torch.contiguous_format, torch.channels_last


class Layout(NamedTuple):
    """A map's sizes and how it is cut."""

    arguments: tuple[int, ...]
    constants: dict[str, int | bool]
    grid: tuple[int]
    chunks: int
    w_blocks: int
    steps: int


def block(size: int, most: int) -> int:
    """The power of two at or above ``size``, at most ``most``, at least 1."""
    return max(1, min(1 << (size - 1).bit_length(), most))


@functools.lru_cache(4096)
def layout(shape: torch.Size, last: bool, flat: bool = False, sums: bool = True) -> Layout:
    """Cut a map.

    Args:
        shape: (N, C, H, W).
        last: Whether the channels are last in memory.
        flat: Take the rows of a plane as one column; for what knows no rows and columns.
        sums: Whether the walk ends in sums, which more chunks make more of.
    """
    n, c, h, w = (shape[0], shape[1], shape[2] * shape[3], 1) if flat else shape
    if last:
        bc = block(c, 32)
        bw = block(w, ELEMENTS // bc)
        bh = block(h, ELEMENTS // bc // bw)
        unit = align(c)
        units = (c // unit, h, w)
    else:
        bw = block(w, ELEMENTS // 2)
        bh = block(h, ELEMENTS // bw)
        bc = block(c, ELEMENTS // bw // bh)
        unit = align(h if flat else w)
        units = (c, h // unit, 1) if flat else (c, h, w // unit)
    c_blocks, w_blocks, h_blocks = -(-c // bc), -(-w // bw), -(-h // bh)
    others = n * c_blocks * w_blocks
    wanted = PROGRAMS if sums else 4 * PROGRAMS
    steps = -(-h_blocks // max(1, min(wanted // max(others, 1), h_blocks)))
    if sums:
        steps = min(max(steps, ROWS // bh), h_blocks)
    chunks = -(-h_blocks // steps)
    constants = dict(LAST=last, FLAT=flat, ALIGN=unit, BC=bc, BH=bh, BW=bw)
    constants.update(IS_WIDE=n * c * h * w > WIDE, num_warps=4)
    arguments = (n, *units, c_blocks, w_blocks, chunks, steps)
    return Layout(arguments, constants, (others * chunks,), chunks, w_blocks, steps)


class Columns(NamedTuple):
    """How planes are cut where a program walks down the channels at a block of positions."""

    arguments: tuple[int, ...]
    constants: dict[str, int | bool]
    grid: tuple[int]
    parts: int
    s_blocks: int


@functools.lru_cache(4096)
def columns(
    samples: int, groups: int, channels: int, positions: int, last: bool, whole: bool = False
) -> Columns:
    """Cut a map that has ``groups`` times ``channels`` channels for sums over each group.

    With ``whole`` a program walks down all channels of a group.
    """
    bc = block(channels, 32 if last else 16)
    bs = block(positions, ELEMENTS // bc)
    unit = align(channels if last else positions)
    units = (channels // unit, positions) if last else (channels, positions // unit)
    c_blocks, s_blocks = -(-channels // bc), -(-positions // bs)
    others = samples * groups * s_blocks
    steps = -(-c_blocks // max(1, min(PROGRAMS // max(others, 1), c_blocks)))
    steps = c_blocks if whole else steps
    parts = -(-c_blocks // steps)
    wide = samples * groups * channels * positions > WIDE
    constants = dict(LAST=last, ALIGN=unit, BC=bc, BS=bs, IS_WIDE=wide, num_warps=4)
    arguments = (samples, groups, *units, parts, s_blocks, steps)
    return Columns(arguments, constants, (others * parts,), parts, s_blocks)


def align(size: int) -> int:
    """The power of two, up to 16, that divides it: how wide loads can be."""
    return min(size & -size, 16)


def dense(x: Tensor) -> tuple[Tensor, bool]:
    """A map in one of the two formats, and whether its channels are last."""
    if x.is_contiguous():
        return x, False
    if x.is_contiguous(memory_format=torch.channels_last):
        return x, True
    return x.contiguous(), False


def alike(grad: Tensor, last: bool) -> Tensor:
    """A gradient in the format of its map."""
    return grad.contiguous(memory_format=FORMATS[last])


def on(x: Tensor) -> AbstractContextManager:
    """Kernels start on the current device, which need not be the one of ``x``."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


@triton.jit
def sizes(
    n, C, H, W, LAST: tl.constexpr, FLAT: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr
):
    """What the arguments stand for: a size that ALIGN divides says so to the compiler."""
    if IS_WIDE:
        n = n.to(tl.int64)
    if LAST:
        C = C * ALIGN
    elif FLAT:
        H = H * ALIGN
    else:
        W = W * ALIGN
    return n, C, H, W


@triton.jit
def place(c_blocks, w_blocks, chunks, steps, BC: tl.constexpr, BH: tl.constexpr, BW: tl.constexpr):
    """Of this program: sample, its channels and columns, block of columns, chunk, first row."""
    pid = tl.program_id(0)
    w_block = pid % w_blocks
    pid = pid // w_blocks
    chunk = pid % chunks
    pid = pid // chunks
    c = pid % c_blocks * BC + tl.arange(0, BC)
    w = w_block * BW + tl.arange(0, BW)
    return pid // c_blocks, c[:, None, None], w[None, None, :], w_block, chunk, chunk * steps * BH


@triton.jit
def offsets(n, c, h, w, C, H, W, LAST: tl.constexpr, FLAT: tl.constexpr):
    if LAST:
        if FLAT:
            return (n * H + h) * C + c
        return ((n * H + h) * W + w) * C + c
    if FLAT:
        return (n * C + c) * H + h
    return ((n * C + c) * H + h) * W + w


@triton.jit
def column_place(parts, s_blocks, IS_WIDE: tl.constexpr):
    """Of this program in :func:`columns`: block of positions, part of the channels, plane."""
    pid = tl.program_id(0)
    plane = pid // s_blocks // parts
    if IS_WIDE:
        plane = plane.to(tl.int64)
    return pid % s_blocks, pid // s_blocks % parts, plane


@triton.jit
def column_sizes(G, S, LAST: tl.constexpr, ALIGN: tl.constexpr):
    """What the arguments stand for."""
    if LAST:
        return G * ALIGN, S
    return G, S * ALIGN


@triton.jit(do_not_specialize=('parts', 'size'))
def _add_up(partial, out, parts, size, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for part in range(parts):
        total += tl.load(partial + part * size.to(tl.int64) + i, i < size, 0.0)
    tl.store(out + i, total, i < size)


def partial_sums(
    parts: int, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Where the programs put their sums: one part is the result itself, more are float32."""
    dtype = (dtype or like.dtype) if parts == 1 else torch.float32
    return like.new_empty((parts, *shape), dtype=dtype)


def add_up(partial: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums of all parts, always in the same order: (parts, ...) -> (...)."""
    if len(partial) == 1:
        return partial.view(partial.shape[1:])
    out = partial.new_empty(partial.shape[1:], dtype=dtype)
    size = out.numel()
    if not size:
        return out
    _add_up[(triton.cdiv(size, 256),)](partial, out, len(partial), size, BLOCK=256)
    return out
