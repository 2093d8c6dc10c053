"""Maps as convolutions meet them: what is near a place, and the gradient of the weights."""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmattn.kernels.triton import tiles


@triton.jit
def near(x, n, c, h, w, mask, C, H, W, LAST: tl.constexpr):
    """What a map has at places that may be beyond it, where it is 0."""
    there = mask & (c < C) & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    return tl.load(x + tiles.offsets(n, c, h, w, C, H, W, LAST, False), there, 0.0).to(tl.float32)


SIZES = ('N', 'C', 'H', 'W', 'c_blocks', 'steps', 'width', 'first', 'bias', 'size', 'KH', 'KW')


@triton.jit(do_not_specialize=SIZES)
def _correlate(
    grad, x, sums, N, C, H, W, c_blocks, steps, width, first, bias, size, KH, KW,
    BT: tl.constexpr, LAST: tl.constexpr, ALIGN: tl.constexpr, IS_WIDE: tl.constexpr,
    BC: tl.constexpr, BS: tl.constexpr,
):  # fmt: skip
    """A program has some channels at a part of the places of all samples."""
    part = tl.program_id(0) // c_blocks
    place = part * steps * BS + tl.arange(0, BS)[None, None, :]
    if IS_WIDE:
        place = part.to(tl.int64) * steps * BS + tl.arange(0, BS)[None, None, :]
    if LAST:
        C = C * ALIGN
    c = tl.program_id(0) % c_blocks * BC + tl.arange(0, BC)[:, None, None]
    tap = tl.arange(0, BT)[None, :, None]
    total = tl.zeros((BC, BT, BS), tl.float32)
    for _ in range(steps):
        n, h, w = place // (H * W), place // W % H, place % W
        given = near(grad, n, c // width, h, w, n < N, C // width, H, W, LAST)
        inside = (n < N) & (tap < KH * KW)
        to_h, to_w = h + tap // KW - KH // 2, w + tap % KW - KW // 2
        value = near(x, n, c, to_h, to_w, inside, C, H, W, LAST)
        # Behind the taps the bias, which meets 1 everywhere.
        total += given * tl.where(tap == KH * KW, 1.0, value)
        place += BS
    at = (part * C + c) * size + tl.where(tap < KH * KW, first + tap, bias)
    tl.store(sums + at, tl.sum(total, 2, keep_dims=True), (c < C) & (tap <= KH * KW))


class Cut:
    """Of maps for :meth:`correlate`."""

    def __init__(self, shape: torch.Size, last: bool) -> None:
        n, c, h, w = shape
        # 16 elements a thread with 32 taps.
        bc, bs = (tiles.block(c, 16), 4) if last else (1, 64)
        c_blocks, blocks = -(-c // bc), -(-(n * h * w) // bs)
        steps = -(-blocks // max(1, min(tiles.PROGRAMS // c_blocks, blocks)))
        # Or the sums would be as large as the map.
        steps = min(max(steps, tiles.ROWS), blocks)
        align = tiles.align(c) if last else 1
        self.parts = -(-blocks // steps)
        self.grid = (c_blocks * self.parts,)
        self.arguments = (n, c // align, h, w, c_blocks, steps)
        self.constants = dict(LAST=last, ALIGN=align, BC=bc, BS=bs, num_warps=4)
        self.constants['IS_WIDE'] = n * c * h * w > tiles.WIDE

    def sums(self, x: Tensor, size: int) -> Tensor:
        """(parts, C, size), for those of ``size`` weights and biases."""
        return x.new_empty((self.parts, x.shape[1], size), dtype=torch.float32)

    def correlate(
        self,
        grad: Tensor,
        x: Tensor,
        sums: Tensor,
        kernel: tuple[int, int],
        first: int,
        bias: int,
        width: int = 1,
    ) -> None:
        """Sums over samples and places of grad x, x shifted by each tap; of grad alone.

        Args:
            grad: (N, C / width, H, W), of ``width`` channels in turn.
            x: (N, C, H, W), in the same memory format.
            sums: From :meth:`sums`; what is of the taps goes to ``first`` and on, the other
                to ``bias``.
            kernel: Height and width, odd; less than 32 taps.
        """
        count = kernel[0] * kernel[1]
        _correlate[self.grid](
            grad, x, sums, *self.arguments, width, first, bias, sums.shape[2], *kernel,
            BT=tiles.block(count + 1, 32), **self.constants,
        )  # fmt: skip


cut = functools.lru_cache(4096)(Cut)
