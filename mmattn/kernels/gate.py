"""A map times its gates, in one read and one write."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive

JOINS = ('product', 'max', 'add')


def gate(
    x: Tensor,
    *,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    channels: Tensor | None = None,
    planes: Tensor | None = None,
    scale: Tensor | None = None,
    join: str = 'product',
) -> Tensor:
    """``x`` times its gates, in the dtype of ``x``.

    With g the product of all gates that are given, y = x g; with ``scale`` s,
    y = x (1 + s (g - 1)), which is x itself at s = 0. Sums are taken in float32 at least.

    Args:
        x: (N, C, H, W).
        rows: (N, C, H).
        columns: (N, C, W).
        channels: (N, C).
        planes: (N, P, H, W) where P divides C: one plane for C / P channels in turn.
        scale: One value.
        join: What joins ``channels`` and ``planes``: 'product'; or, without rows and columns,
            'add' for x (a + b), 'max' for the larger of x a and x b.

    Returns:
        (N, C, H, W).
    """
    gates = [
        g if g is None or g.dtype == x.dtype else g.to(x.dtype)
        for g in (rows, columns, channels, planes)
    ]
    if scale is not None:
        scale = scale.to(torch.promote_types(x.dtype, torch.float32))
    return _gate(x, *gates, scale, join)


def _reference(x, rows, columns, channels, planes, scale, join):
    if join != 'product':
        a, b = x * channels[:, :, None, None], _times_planes(x, planes)
        out = torch.maximum(a, b) if join == 'max' else a + b
    else:
        out = x
        for gate, dim in ((rows, 3), (columns, 2)):
            out = out if gate is None else out * gate.unsqueeze(dim)
        out = out if channels is None else out * channels[:, :, None, None]
        out = out if planes is None else _times_planes(out, planes)
    return out if scale is None else torch.lerp(x, out, scale.to(x.dtype))


def _times_planes(x, planes):
    if planes.shape[1] == 1:
        return x * planes
    groups = planes.shape[1]
    return (x.unflatten(1, (groups, -1)) * planes[:, :, None]).flatten(1, 2)


def _backward(grad, x, rows, columns, channels, planes, scale, join):
    """Two full-size temporaries whatever the number of gates."""
    given = [
        (rows, lambda g: g.unsqueeze(3), lambda t: t.sum(3)),
        (columns, lambda g: g.unsqueeze(2), lambda t: t.sum(2)),
        (channels, lambda g: g[:, :, None, None], lambda t: t.sum((2, 3))),
        (planes, lambda g: _spread(g, x), lambda t: _gather(t, planes.shape[1])),
    ]
    views = [None if g is None else view(g) for g, view, _ in given]
    product = grad * x
    if join != 'product':
        return _joined_backward(grad, x, views, product, planes.shape[1], scale, join)
    whole = None
    for view in views:
        if view is not None:
            whole = view if whole is None else whole * view
    out = []
    scaled = product if scale is None else product * scale.to(x.dtype)
    for i, (g, _, reduce) in enumerate(given):
        if g is None:
            out.append(x.new_empty(0))
            continue
        term = scaled
        for j, view in enumerate(views):
            if j != i and view is not None:
                term = term * view
        out.append(reduce(term))
    if scale is None:
        return grad * whole, *out, x.new_empty(0)
    grad_scale = (product * (whole - 1)).sum(dtype=scale.dtype).reshape(scale.shape)
    return grad * (1 + scale.to(x.dtype) * (whole - 1)), *out, grad_scale


def _spread(planes, x):
    return planes.repeat_interleave(x.shape[1] // planes.shape[1], 1)


def _gather(x, groups):
    return x.unflatten(1, (groups, -1)).sum(2)


def _joined_backward(grad, x, views, product, groups, scale, join):
    a, b = views[2], views[3]
    if join == 'add':
        whole, to_a, to_b = a + b, product, product
    else:
        a_wins = torch.where(x > 0, a > b, a < b).to(x.dtype)
        tie = (a == b) | (x == 0)
        a_wins = torch.where(tie, 0.5, a_wins)
        whole = a * a_wins + b * (1 - a_wins)
        to_a, to_b = product * a_wins, product * (1 - a_wins)
    empty = x.new_empty(0)
    if scale is None:
        return grad * whole, empty, empty, to_a.sum((2, 3)), _gather(to_b, groups), empty
    s = scale.to(x.dtype)
    grad_scale = (product * (whole - 1)).sum(dtype=scale.dtype).reshape(scale.shape)
    grads = (s * to_a.sum((2, 3)), s * _gather(to_b, groups))
    return grad * (1 + s * (whole - 1)), empty, empty, *grads, grad_scale


def _fake(x, *_):
    return torch.empty_like(x)


_gate = Primitive(
    'gate(Tensor x, Tensor? rows, Tensor? columns, Tensor? channels, Tensor? planes, '
    'Tensor? scale, str join) -> Tensor',
    _reference,
    _backward,
    _fake,
)
