"""The gate of the channels in :mod:`mmattn.kernels.triton.scsa`.

``kept`` is (N, P + 1, C): the means of P windows, and what the attention makes of them. The
matrix between the channels of a head is made tile by tile and never stored. Its gradient uses
that query and key are the same normalised means times a factor per channel: with g = n n^T,
softmax rows A and S = d loss / d logits, the gradient of n is M n with
M_ij = q_i S_ij k_j + k_i S_ji q_j.
"""

import triton
import triton.language as tl

ARGUMENTS = ('C', 'P', 'heads', 'factor', 'eps', 'blocks', 'parts')


@triton.jit
def moments(kept, size, eps, BLOCK: tl.constexpr):
    """Of the first ``size`` values: mean, and 1 / sqrt(variance + eps)."""
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        total += tl.load(kept + i, i < size, 0.0)
    mean = tl.sum(total) / size
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        distance = tl.where(i < size, tl.load(kept + i, i < size, 0.0) - mean, 0.0)
        squares += distance * distance
    return mean, tl.rsqrt(tl.sum(squares) / size + eps)


@triton.jit
def _normal(kept, weight, bias, c, p, C, P, inside, mean, rstd):
    value = (tl.load(kept + p * C + c, inside & (p < P), 0.0) - mean) * rstd
    value = value * tl.load(weight + c, inside, 0.0) + tl.load(bias + c, inside, 0.0)
    return tl.where(inside & (p < P), value, 0.0)


@triton.jit
def _products(
    kept, weight, bias, i, j, C, P, in_i, in_j, mean, rstd,
    BM: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """n_i n_j^T, (BM, BN), and the sums of n_j, (1, BN)."""
    if DOT:
        out = tl.zeros((BM, BN), tl.float32)
        sums = tl.zeros((1, BN), tl.float32)
        for start in range(0, P, BP):
            p = start + tl.arange(0, BP)
            a = _normal(kept, weight, bias, i[:, None], p[None, :], C, P, in_i[:, None], mean, rstd)
            b = _normal(kept, weight, bias, j[None, :], p[:, None], C, P, in_j[None, :], mean, rstd)
            out = tl.dot(a, b, out, input_precision='ieee')
            sums += tl.sum(b, 0, keep_dims=True)
        return out, sums
    p = tl.arange(0, BP)[None, None, :]
    c, inside = i[:, None, None], in_i[:, None, None]
    a = _normal(kept, weight, bias, c, p, C, P, inside, mean, rstd)
    c, inside = j[None, :, None], in_j[None, :, None]
    b = _normal(kept, weight, bias, c, p, C, P, inside, mean, rstd)
    return tl.sum(a * b, 2), tl.sum(b, 2)


@triton.jit
def _block(heads, blocks, C, BM: tl.constexpr):
    """Of this program: sample, first channel and end of its head, its channels."""
    pid = tl.program_id(0)
    each = C // heads
    n = pid // blocks // heads
    first = pid // blocks % heads * each
    return n.to(tl.int64), first, first + each, first + pid % blocks * BM + tl.arange(0, BM)


@triton.jit(do_not_specialize=ARGUMENTS)
def attention(
    kept, weight, bias, q, k, v, attended, channels, lse, stats, C, P, heads, factor, eps, blocks,
    BM: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    n, first, end, i = _block(heads, blocks, C, BM)
    kept += n * (P + 1) * C
    mean, rstd = moments(kept, P * C, eps, 1024)
    tl.store(stats + 2 * n, mean)
    tl.store(stats + 2 * n + 1, rstd)
    in_i = i < end
    q_i = tl.load(q + i, in_i, 0.0)[:, None] * factor
    top = tl.full((BM, 1), float('-inf'), tl.float32)
    total = tl.zeros((BM, 1), tl.float32)
    out = tl.zeros((BM, 1), tl.float32)
    for start in range(first, end, BN):
        j = start + tl.arange(0, BN)
        in_j = j < end
        g, sums = _products(kept, weight, bias, i, j, C, P, in_i, in_j, mean, rstd, BM, BN, BP, DOT)
        logits = q_i * tl.load(k + j, in_j, 0.0)[None, :] * g
        logits = tl.where(in_j[None, :], logits, float('-inf'))
        higher = tl.maximum(top, tl.max(logits, 1, keep_dims=True))
        shrink = tl.exp(top - higher)
        weights = tl.exp(logits - higher)
        value = tl.load(v + j, in_j, 0.0)[None, :] * sums / P
        total = total * shrink + tl.sum(weights, 1, keep_dims=True)
        out = out * shrink + tl.sum(weights * value, 1, keep_dims=True)
        top = higher
    out = out / total
    c, inside = i[:, None], in_i[:, None]
    if attended is not None:
        tl.store(attended + n * (P + 1) * C + P * C + c, out, inside)
    if lse is not None:
        tl.store(lse + n * C + c, top + tl.log(total), inside)
    tl.store(channels + n * C + c, tl.sigmoid(out), inside)


@triton.jit
def _gradient(attended, channels, grad, at, inside):
    """Of what the attention returns: (value, gradient)."""
    gate = tl.load(channels + at, inside, 0.0)
    return tl.load(attended + at, inside, 0.0), tl.load(grad + at, inside, 0.0) * gate * (1 - gate)


@triton.jit(do_not_specialize=ARGUMENTS)
def attention_backward(
    kept, weight, bias, q, k, v, channels, lse, stats, grad, to_normal, sums,
    C, P, heads, factor, blocks, parts,
    BM: tl.constexpr, BN: tl.constexpr, BP: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """``sums``: (N * parts, 5, C), of the norm's weight and bias, q, k and v."""
    n, first, end, i = _block(heads, blocks, C, BM)
    part = tl.program_id(1)
    kept += n * (P + 1) * C
    attended, channels, grad, lse = kept + P * C, channels + n * C, grad + n * C, lse + n * C
    mean, rstd = tl.load(stats + 2 * n), tl.load(stats + 2 * n + 1)
    in_i = i < end
    c, inside = i[:, None], in_i[:, None]
    q_i, k_i = tl.load(q + c, inside, 0.0), tl.load(k + c, inside, 0.0)
    v_i, lse_i = tl.load(v + c, inside, 0.0), tl.load(lse + c, inside, 0.0)
    a_i, da_i = _gradient(attended, channels, grad, c, inside)
    own = tl.zeros((BM, 1), tl.float32)
    for start in range(0, P, BP):
        p = start + tl.arange(0, BP)[None, :]
        value = _normal(kept, weight, bias, c, p, C, P, inside, mean, rstd)
        own += tl.sum(value, 1, keep_dims=True)
    value_i = v_i * own / P
    p = part * BP + tl.arange(0, BP)
    out = tl.zeros((BM, BP), tl.float32)
    to_q = tl.zeros((BM, 1), tl.float32)
    to_k = tl.zeros((BM, 1), tl.float32)
    to_value = tl.zeros((BM, 1), tl.float32)
    for start in range(first, end, BN):
        j = start + tl.arange(0, BN)
        in_j = j < end
        d, within = j[None, :], in_j[None, :]
        g, total = _products(
            kept, weight, bias, i, j, C, P, in_i, in_j, mean, rstd, BM, BN, BP, DOT
        )
        q_j, k_j = tl.load(q + d, within, 0.0), tl.load(k + d, within, 0.0)
        value_j = tl.load(v + d, within, 0.0) * total / P
        lse_j = tl.load(lse + d, within, 0.0)
        a_j, da_j = _gradient(attended, channels, grad, d, within)
        both = inside & within
        forth = tl.where(both, tl.exp(factor * q_i * k_j * g - lse_i), 0.0)
        back = tl.where(both, tl.exp(factor * q_j * k_i * g - lse_j), 0.0)
        to_value += tl.sum(back * da_j, 1, keep_dims=True)
        forth = factor * forth * da_i * (value_j - a_i) * k_j
        back = factor * back * da_j * (value_i - a_j) * q_j
        to_q += tl.sum(forth * g, 1, keep_dims=True)
        to_k += tl.sum(back * g, 1, keep_dims=True)
        matrix = q_i * forth + k_i * back
        if DOT:
            n_j = _normal(
                kept, weight, bias, j[:, None], p[None, :], C, P, in_j[:, None], mean, rstd
            )
            out = tl.dot(matrix, n_j, out, input_precision='ieee')
        else:
            n_j = _normal(
                kept, weight, bias, j[None, :, None], p[None, None, :], C, P, in_j[None, :, None],
                mean, rstd,
            )  # fmt: skip
            out += tl.sum(matrix[:, :, None] * n_j, 1)
    p = p[None, :]
    out = tl.where(inside & (p < P), out + to_value * v_i / P, 0.0)
    tl.store(to_normal + n * P * C + p * C + c, out, inside & (p < P))
    plain = tl.load(kept + p * C + c, inside & (p < P), 0.0)
    to_weight = tl.sum(out * (plain - mean) * rstd, 1, keep_dims=True)
    sums += (n * parts + part) * 5 * C + c
    tl.store(sums, to_weight, inside)
    tl.store(sums + C, tl.sum(out, 1, keep_dims=True), inside)
    once = tl.where(part == 0, 1.0, 0.0)
    tl.store(sums + 2 * C, to_q * once, inside)
    tl.store(sums + 3 * C, to_k * once, inside)
    tl.store(sums + 4 * C, to_value * own / P * once, inside)


@triton.jit(do_not_specialize=ARGUMENTS)
def norm_backward(kept, to_normal, sums, weight, stats, out, C, P, parts, BLOCK: tl.constexpr):
    """The gradient of the window means, (N, P, C), from the one of the normalised."""
    n = tl.program_id(0).to(tl.int64)
    mean, rstd = tl.load(stats + 2 * n), tl.load(stats + 2 * n + 1)
    shift = tl.zeros((BLOCK,), tl.float32)
    slope = tl.zeros((BLOCK,), tl.float32)
    for part in range(parts):
        start = sums + (n * parts + part) * 5 * C
        for first in range(0, C, BLOCK):
            c = first + tl.arange(0, BLOCK)
            factor = tl.load(weight + c, c < C, 0.0)
            slope += tl.load(start + c, c < C, 0.0) * factor
            shift += tl.load(start + C + c, c < C, 0.0) * factor
    shift, slope = tl.sum(shift) / (P * C), tl.sum(slope) / (P * C)
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = i < P * C
    value = tl.load(to_normal + n * P * C + i, inside, 0.0) * tl.load(weight + i % C, inside, 0.0)
    normal = (tl.load(kept + n * (P + 1) * C + i, inside, 0.0) - mean) * rstd
    tl.store(out + n * P * C + i, rstd * (value - shift - normal * slope), inside)
