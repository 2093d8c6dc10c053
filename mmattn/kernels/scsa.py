"""SCSA as one operator: a map is read once and written once, and so is its gradient.

Paper: SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention,
Neurocomputing 2025, arXiv:2407.05128. Strips and windows are kept as (N, positions, C).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.kernels.means import _means
from mmattn.kernels.primitive import Primitive, cast, is_channels_last, no_autocast, wide_dtype
from mmattn.kernels.windows import mean_of_windows, spread

aten = torch.ops.aten
# Elements of the C x C matrices that the gradient has at a time.
MATRICES = 2**20


def scsa(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    norm_h: tuple[Tensor, Tensor, float],
    norm_w: tuple[Tensor, Tensor, float],
    norm: tuple[Tensor, Tensor, float],
    qkv: tuple[Tensor, Tensor, Tensor],
    *,
    heads: int,
    window: int,
    factor: float,
    scale: Tensor | None = None,
) -> Tensor:
    """Spatial, then channel attention, in the dtype of ``x``.

    Row means and column means, convolved by groups of channels and normalised, make the gates
    g_h and g_w; the window means of x g_h g_w, normalised, give a query, a key and a value
    per channel; a softmax between the channels of a head makes the gate g_c.
    y = x g_h g_w g_c; with ``scale`` s, y = x (1 + s (g_h g_w g_c - 1)), x itself at s = 0.
    Sums, norms and the softmax are taken in float32 at least.

    Args:
        x: (N, C, H, W).
        weights: Of each group's depthwise convolution, (C / groups, 1, k) with k odd.
        biases: (C / groups) each.
        norm_h: Weight (C), bias (C) and eps of the rows' GroupNorm over the groups.
        norm_w: The same of the columns.
        norm: The same of the windows' GroupNorm over all channels.
        qkv: What makes the query, the key and the value of a channel, C values each in any shape.
        heads: Divides C.
        window: Side of the windows; a smaller map is one.
        factor: Of the softmax's logits.
        scale: One value.

    Returns:
        (N, C, H, W).
    """
    wide = wide_dtype(x)
    flat = torch.cat([weight.flatten() for weight in weights]), torch.cat(tuple(biases))
    given = (*flat, *norm_h[:2], *norm_w[:2], *norm[:2], *qkv)
    parameters = [cast(tensor, wide) for tensor in given]
    sizes = [int(weight.shape[-1]) for weight in weights]  # torch 2.1 traces them as tensors
    eps = [norm_h[2], norm_w[2], norm[2]]
    scale = scale if scale is None else cast(scale, wide)
    return _scsa(x, *parameters, scale, sizes, heads, window, factor, eps)


def _reference(x, *arguments):
    return _run(x, *arguments, differentiable=True)


def _forward(x, *arguments):
    return _run(x, *arguments, differentiable=False)


def _run(
    x, weight, bias, wh, bh, ww, bw, wp, bp, q, k, v, scale, sizes, heads, window, factor, eps,
    differentiable,
):  # fmt: skip
    strip_means = _means.reference if differentiable else _means.pure_forward
    q, k, v = q.flatten(), k.flatten(), v.flatten()
    with no_autocast(x):
        strips = torch.cat(strip_means(x), 2).to(weight.dtype)
        rows, columns = _gates(x, strips, weight, bias, wh, bh, ww, bw, sizes, eps)[:2]
        rows, columns = rows.to(x.dtype), columns.to(x.dtype)
        out = x * rows.unsqueeze(3)
        out = out * columns.unsqueeze(2) if differentiable else out.mul_(columns.unsqueeze(2))
        pooled = mean_of_windows(out, window).flatten(2).to(weight.dtype)
        normal = torch.group_norm(pooled, 1, wp, bp, eps[2])
        attended = _attend(normal, q, k, v, heads, factor, differentiable)
        channels = attended.sigmoid().to(x.dtype)[:, :, None, None]
        out = out * channels if differentiable else out.mul_(channels)
        if scale is not None:
            out = torch.lerp(x, out, scale.to(x.dtype))
        kept = torch.cat((pooled, attended.unsqueeze(2)), 2)
        return out, strips.transpose(1, 2).contiguous(), kept.transpose(1, 2).contiguous()


def _padded(weight, sizes, channels):
    """The convolutions' weights as one, (C, 1, k), smaller kernels padded with zeros."""
    width, most = channels // len(sizes), max(sizes)
    parts = weight.split([width * size for size in sizes])
    padded = []
    for i in range(len(sizes)):  # torch 2.1 compiles no strict zip
        part, pad = parts[i].view(width, 1, sizes[i]), (most - sizes[i]) // 2
        padded.append(F.pad(part, (pad, pad)) if pad else part)
    return torch.cat(padded)


def _gates(x, strips, weight, bias, wh, bh, ww, bw, sizes, eps):
    """Gates of rows and columns, and what they are made of."""
    channels, height = x.shape[1:3]
    gap = max(sizes) // 2
    # One convolution for both: zeros between them act as the padding.
    both = torch.cat((F.pad(strips[:, :, :height], (0, gap)), strips[:, :, height:]), 2)
    padded = _padded(weight, sizes, channels)
    logits = F.conv1d(both, padded, bias, padding=gap, groups=channels)
    logits_h, logits_w = logits[:, :, :height], logits[:, :, height + gap :]
    rows = torch.group_norm(logits_h, len(sizes), wh, bh, eps[0]).sigmoid()
    columns = torch.group_norm(logits_w, len(sizes), ww, bw, eps[1]).sigmoid()
    return rows, columns, both, padded, logits_h, logits_w


def _attend(normal, q, k, v, heads, factor, differentiable):
    """(N, C, P) normalised window means -> (N, C), what the attention makes of them."""
    each = heads, normal.shape[1] // heads
    query, key = (normal * q[:, None]).unflatten(1, each), (normal * k[:, None]).unflatten(1, each)
    value = (normal.mean(2) * v).unflatten(1, each).unsqueeze(3)
    if differentiable:
        # What torch has for this has no second derivative.
        matrix = (query * factor @ key.transpose(2, 3)).softmax(3)
        return (matrix @ value).flatten(1)
    return F.scaled_dot_product_attention(query, key, value, scale=factor).flatten(1)


def _backward(
    grad, x, weight, bias, wh, bh, ww, bw, wp, bp, q, k, v, scale, sizes, heads, window, factor,
    eps, strips, kept,
):  # fmt: skip
    with no_autocast(x):
        strips, kept = strips.transpose(1, 2), kept.transpose(1, 2)
        pooled, attended = kept[:, :, :-1].contiguous(), kept[:, :, -1]
        gates = _gates(x, strips, weight, bias, wh, bh, ww, bw, sizes, eps)
        rows, columns, both, padded, logits_h, logits_w = gates
        a, b = rows.to(x.dtype).unsqueeze(3), columns.to(x.dtype).unsqueeze(2)
        channels = attended.sigmoid()
        s = 1 if scale is None else scale
        product = grad * x
        to_rows = _sum(product * b, 3).to(weight.dtype)
        to_columns = _sum(product * a, 2).to(weight.dtype)
        to_channels = (to_rows * rows).sum(2)
        to_scale = x.new_empty(0)
        if scale is not None:
            whole = product.sum((2, 3), dtype=weight.dtype)
            to_scale = (to_channels * channels - whole).sum().reshape(scale.shape)
        times = (s * channels).unsqueeze(2)
        to_attended = s * to_channels * channels * (1 - channels)
        to_pooled, *to_window = _window_backward(
            to_attended, pooled, wp, bp, q, k, v, heads, factor, eps[2]
        )
        grid = [max(length // window, 1) for length in x.shape[2:]]
        d = spread(to_pooled.unflatten(2, grid).to(x.dtype), x, window)
        # The gradient of x a b: through the windows, and times the gate of the channels.
        torch.mul(x, d, out=product)
        to_rows = to_rows * times + _sum(product * b, 3)
        to_columns = to_columns * times + _sum(product * a, 2)
        d.addcmul_(grad, times.to(x.dtype).unsqueeze(3)).mul_(a).mul_(b)
        if scale is not None:
            d.addcmul_(grad, 1 - scale.to(x.dtype))
        to_strips, *to_strip_parameters = _strip_backward(
            to_rows, to_columns, rows, columns, both, padded, logits_h, logits_w,
            wh, ww, sizes, eps,
        )  # fmt: skip
        height, width = x.shape[2:]
        d.add_((to_strips[0] / width).to(x.dtype).unsqueeze(3))
        d.add_((to_strips[1] / height).to(x.dtype).unsqueeze(2))
        return d, *to_strip_parameters, *to_window, to_scale


def _sum(x, axis):
    """``x.sum(axis)``, which with channels_last takes six times as long as a pooling."""
    if not is_channels_last(x):
        return x.sum(axis)
    length = x.shape[axis]
    return F.avg_pool2d(x, (1, length) if axis == 3 else (length, 1)).squeeze(axis) * length


def _window_backward(grad, pooled, weight, bias, q, k, v, heads, factor, eps):
    """Gradients of the window means (N, C, P), of the norm's weight and bias and of q, k, v."""
    batch, channels, count = pooled.shape
    weight, bias = weight.contiguous(), bias.contiguous()
    shapes, (q, k, v) = (q.shape, k.shape, v.shape), (q.flatten(), k.flatten(), v.flatten())
    normal, mean, rstd = aten.native_group_norm(
        pooled, weight, bias, batch, channels, count, 1, eps
    )
    shape = batch * heads, channels // heads, count
    middle = normal.mean(2)
    query, key = (normal * (q[:, None] * factor)).view(shape), (normal * k[:, None]).view(shape)
    value, grad = (middle * v).view(*shape[:2], 1), grad.reshape(*shape[:2], 1)
    # dS_ij = P_ij da_i (v_j - a_i), of which only sums are needed: three products with P on
    # either side. A shift of all values changes none of them, and what cancels is small.
    value = value - value.mean(1, keepdim=True)
    with_key = torch.cat((key * value, key, value), 2)
    to_query, to_key, to_value = (torch.empty_like(x) for x in (query, key, value))
    step = max(1, MATRICES // shape[1] ** 2)
    for start in range(0, shape[0], step):
        part = slice(start, start + step)
        matrix = torch.softmax(query[part] @ key[part].transpose(1, 2), 2)
        valued, plain, attended = (matrix @ with_key[part]).split((count, count, 1), 2)
        to_query[part] = grad[part] * (valued - attended * plain)
        share = grad[part] * query[part]
        with_query = torch.cat((share, share * attended, grad[part]), 2)
        plain, valued, shares = (matrix.transpose(1, 2) @ with_query).split((count, count, 1), 2)
        to_key[part] = value[part] * plain - valued
        to_value[part] = shares
    to_query, to_key = to_query.view_as(normal) * factor, to_key.view_as(normal)
    to_value = to_value.view_as(middle)
    to_normal = to_query * q[:, None] + to_key * k[:, None] + (to_value * v / count).unsqueeze(2)
    to_pooled, to_weight, to_bias = aten.native_group_norm_backward(
        to_normal, pooled, mean, rstd, weight, batch, channels, count, 1, [True, True, True]
    )
    to_qkv = (to_query * normal).sum((0, 2)), (to_key * normal).sum((0, 2)), middle * to_value
    to_qkv = [*to_qkv[:2], to_qkv[2].sum(0)]
    to_qkv = [to.view(shape) for to, shape in zip(to_qkv, shapes, strict=True)]
    return to_pooled, to_weight, to_bias, *to_qkv


def _strip_backward(
    to_rows, to_columns, rows, columns, both, padded, logits_h, logits_w, wh, ww, sizes, eps
):
    """Gradients of the strips, and of the convolutions' and the norms' parameters."""
    batch, channels, height = rows.shape
    groups, gap = len(sizes), max(sizes) // 2
    to_logits, to_norms = [], []
    for grad, gate, logits, weight, e in (
        (to_rows, rows, logits_h, wh, eps[0]),
        (to_columns, columns, logits_w, ww, eps[1]),
    ):
        logits, weight, length = logits.contiguous(), weight.contiguous(), logits.shape[2]
        size = batch, channels, length, groups
        _, mean, rstd = aten.native_group_norm(logits, weight, None, *size, e)
        to_logit, to_weight, to_bias = aten.native_group_norm_backward(
            (grad * gate * (1 - gate)).contiguous(), logits, mean, rstd, weight, *size,
            [True, True, True],
        )  # fmt: skip
        to_logits.append(to_logit)
        to_norms += to_weight, to_bias
    joined = torch.cat((F.pad(to_logits[0], (0, gap)), to_logits[1]), 2)
    to_both, to_padded, to_bias = aten.convolution_backward(
        joined, both, padded, [channels], [1], [gap], [1], False, [0], channels, [True, True, True]
    )
    most, width = max(sizes), channels // groups
    parts = [
        part[:, :, (most - size) // 2 : (most + size) // 2].reshape(-1)
        for part, size in zip(to_padded.split(width), sizes, strict=True)
    ]
    strips = to_both[:, :, :height], to_both[:, :, height + gap :]
    return strips, torch.cat(parts), to_bias, *to_norms


_scsa = Primitive(
    'scsa(Tensor x, Tensor weight, Tensor bias, Tensor norm_h_weight, Tensor norm_h_bias, '
    'Tensor norm_w_weight, Tensor norm_w_bias, Tensor norm_weight, Tensor norm_bias, Tensor q, '
    'Tensor k, Tensor v, Tensor? scale, int[] kernel_sizes, int heads, int window, '
    'float factor, float[] eps) -> (Tensor, Tensor, Tensor)',
    _reference,
    _backward,
    forward=_forward,
)
