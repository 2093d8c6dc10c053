"""The gates of rows and columns in :mod:`mmattn.kernels.triton.scsa`.

One program has one group of channels of a sample in one direction, because its norm is over
all of them; sums over the batch are left to the end.
"""

import triton
import triton.language as tl

ARGUMENTS = ('N', 'C', 'H', 'W', 'G', 'T', 'eps_h', 'eps_w')


@triton.jit
def _tile(i, j, BC: tl.constexpr, BL: tl.constexpr):
    return i + tl.arange(0, BC)[:, None], j + tl.arange(0, BL)[None, :]


@triton.jit
def _gate(
    source, n_stride, c_stride, l_stride, weight, size, bias, norm_weight, norm_bias, eps,
    out, logits, stats, kept, kept_l_stride, n, first, width, C, L,
    BC: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    total = tl.zeros((BC, BL), tl.float32)
    for i in range(0, width, BC):
        for j in range(0, L, BL):
            c, position = _tile(i, j, BC, BL)
            inside = (c < width) & (position < L)
            start = source + n * n_stride + (first + c) * c_stride
            value = tl.load(bias + first + c, c < width, 0.0) + tl.zeros((BC, BL), tl.float32)
            for tap in range(size):
                to = position + tap - size // 2
                near = tl.load(start + to * l_stride, (c < width) & (to >= 0) & (to < L), 0.0)
                value += near * tl.load(weight + c * size + tap, c < width, 0.0)
            tl.store(logits + (n * C + first + c) * L + position, value, inside)
            total += tl.where(inside, value, 0.0)
            if kept is not None:
                strip = tl.load(start + position * l_stride, inside, 0.0)
                tl.store(kept + position * kept_l_stride + first + c, strip, inside)
    # What one thread has stored is read by another.
    tl.debug_barrier()
    mean = tl.sum(total) / (width * L)
    squares = tl.zeros((BC, BL), tl.float32)
    for i in range(0, width, BC):
        for j in range(0, L, BL):
            c, position = _tile(i, j, BC, BL)
            inside = (c < width) & (position < L)
            value = tl.load(logits + (n * C + first + c) * L + position, inside, 0.0)
            distance = tl.where(inside, value - mean, 0.0)
            squares += distance * distance
    rstd = tl.rsqrt(tl.sum(squares) / (width * L) + eps)
    tl.store(stats, mean)
    tl.store(stats + 1, rstd)
    for i in range(0, width, BC):
        for j in range(0, L, BL):
            c, position = _tile(i, j, BC, BL)
            inside = (c < width) & (position < L)
            at = (n * C + first + c) * L + position
            value = (tl.load(logits + at, inside, 0.0) - mean) * rstd
            value = value * tl.load(norm_weight + first + c, c < width, 0.0)
            value = value + tl.load(norm_bias + first + c, c < width, 0.0)
            tl.store(out + at, tl.sigmoid(value), inside)


@triton.jit(do_not_specialize=(*ARGUMENTS, 'n_h', 'c_h', 'l_h', 'n_w', 'c_w', 'l_w'))
def gates(
    rows, columns, n_h, c_h, l_h, n_w, c_w, l_w,
    weight, table, bias, wh, bh, ww, bw, eps_h, eps_w,
    out_h, out_w, logits_h, logits_w, stats, kept, N, C, H, W, G, T,
    BC: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    n, group = tl.program_id(0).to(tl.int64) // G, tl.program_id(0) % G
    width = C // G
    size = tl.load(table + 2 * group)
    weight += tl.load(table + 2 * group + 1)
    stats += 4 * (n * G + group)
    kept_w = kept
    if kept is not None:
        kept += n * (H + W) * C
        kept_w = kept + H * C
    if tl.program_id(1) == 0:
        _gate(
            rows, n_h, c_h, l_h, weight, size, bias, wh, bh, eps_h, out_h, logits_h, stats,
            kept, C, n, group * width, width, C, H, BC, BL,
        )  # fmt: skip
    else:
        _gate(
            columns, n_w, c_w, l_w, weight, size, bias, ww, bw, eps_w, out_w, logits_w, stats + 2,
            kept_w, C, n, group * width, width, C, W, BC, BL,
        )  # fmt: skip


@triton.jit
def _gate_backward(
    grad, more, strips, weight, size, weight_at, norm_weight, gate, logits, stats, out, sums,
    n, first, width, C, L, T, BC: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    mean, rstd = tl.load(stats), tl.load(stats + 1)
    of_mean = tl.zeros((BC, 1), tl.float32)
    of_rstd = tl.zeros((BC, 1), tl.float32)
    for i in range(0, width, BC):
        to_weight = tl.zeros((BC, 1), tl.float32)
        to_bias = tl.zeros((BC, 1), tl.float32)
        for j in range(0, L, BL):
            c, position = _tile(i, j, BC, BL)
            inside = (c < width) & (position < L)
            at = (n * C + first + c) * L + position
            a = tl.load(gate + at, inside, 0.0)
            to_normal = tl.load(grad + at, inside, 0.0) + tl.load(more + at, inside, 0.0)
            to_normal = to_normal * a * (1 - a)
            normal = (tl.load(logits + at, inside, 0.0) - mean) * rstd
            to_weight += tl.sum(to_normal * normal, 1, keep_dims=True)
            to_bias += tl.sum(to_normal, 1, keep_dims=True)
        c = i + tl.arange(0, BC)[:, None]
        tl.store(sums + T + C + first + c, to_weight, c < width)
        tl.store(sums + T + 2 * C + first + c, to_bias, c < width)
        factor = tl.load(norm_weight + first + c, c < width, 0.0)
        of_mean += to_bias * factor
        of_rstd += to_weight * factor
    shift, slope = tl.sum(of_mean) / (width * L), tl.sum(of_rstd) / (width * L)
    # The gradient of the logits takes their place.
    for i in range(0, width, BC):
        to_bias = tl.zeros((BC, 1), tl.float32)
        for j in range(0, L, BL):
            c, position = _tile(i, j, BC, BL)
            inside = (c < width) & (position < L)
            at = (n * C + first + c) * L + position
            a = tl.load(gate + at, inside, 0.0)
            to_normal = tl.load(grad + at, inside, 0.0) + tl.load(more + at, inside, 0.0)
            to_normal = to_normal * a * (1 - a)
            to_normal = to_normal * tl.load(norm_weight + first + c, c < width, 0.0)
            normal = (tl.load(logits + at, inside, 0.0) - mean) * rstd
            value = tl.where(inside, rstd * (to_normal - shift - normal * slope), 0.0)
            tl.store(logits + at, value, inside)
            to_bias += tl.sum(value, 1, keep_dims=True)
        c = i + tl.arange(0, BC)[:, None]
        tl.store(sums + T + first + c, to_bias, c < width)
    tl.debug_barrier()
    for i in range(0, width, BC):
        c = i + tl.arange(0, BC)[:, None]
        start = logits + (n * C + first + c) * L
        for tap in range(size):
            to_weight = tl.zeros((BC, 1), tl.float32)
            for j in range(0, L, BL):
                position = j + tl.arange(0, BL)[None, :]
                to = position + tap - size // 2
                near = (c < width) & (position < L) & (to >= 0) & (to < L)
                value = tl.load(start + position, near, 0.0)
                value = value * tl.load(strips + to * C + first + c, near, 0.0)
                to_weight += tl.sum(value, 1, keep_dims=True)
            tl.store(sums + weight_at + c * size + tap, to_weight, c < width)
        for j in range(0, L, BL):
            position = j + tl.arange(0, BL)[None, :]
            value = tl.zeros((BC, BL), tl.float32)
            for tap in range(size):
                to = position - tap + size // 2
                near = tl.load(start + to, (c < width) & (to >= 0) & (to < L), 0.0)
                value += near * tl.load(weight + c * size + tap, c < width, 0.0)
            tl.store(out + (n * C + first + c) * L + position, value, (c < width) & (position < L))


@triton.jit(do_not_specialize=ARGUMENTS)
def gates_backward(
    grad_h, grad_w, more_h, more_w, strips, weight, table, wh, ww,
    gate_h, gate_w, logits_h, logits_w, stats, out_h, out_w, sums, N, C, H, W, G, T,
    BC: tl.constexpr, BL: tl.constexpr,
):  # fmt: skip
    """``sums``: (N, 2, T + 3 C), weight, bias, norm's weight and bias of each direction."""
    n, group = tl.program_id(0).to(tl.int64) // G, tl.program_id(0) % G
    width = C // G
    size = tl.load(table + 2 * group)
    weight_at = tl.load(table + 2 * group + 1)
    weight += weight_at
    stats += 4 * (n * G + group)
    sums += 2 * n * (T + 3 * C)
    strips += n * (H + W) * C
    if tl.program_id(1) == 0:
        _gate_backward(
            grad_h, more_h, strips, weight, size, weight_at, wh, gate_h, logits_h, stats,
            out_h, sums, n, group * width, width, C, H, T, BC, BL,
        )  # fmt: skip
    else:
        _gate_backward(
            grad_w, more_w, strips + H * C, weight, size, weight_at, ww, gate_w, logits_w,
            stats + 2, out_w, sums + T + 3 * C, n, group * width, width, C, W, T, BC, BL,
        )  # fmt: skip
