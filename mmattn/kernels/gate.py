"""A map times its gates, in one read and one write."""

import torch
from torch import Tensor

from mmattn.kernels.primitive import Primitive, cast, is_channels_last, wide_dtype
from mmattn.utils.errors import InvalidValue

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

    Raises:
        ValueError: If ``join`` is none of these.
    """
    if join not in JOINS:
        raise InvalidValue(f'join must be one of {", ".join(JOINS)}, got {join!r}')
    dtype = x.dtype
    gates = [
        g if g is None or g.dtype == dtype else g.to(dtype)
        for g in (rows, columns, channels, planes)
    ]
    if scale is not None:
        scale = cast(scale, wide_dtype(x))
    elif not torch.is_grad_enabled() and [g is None for g in gates].count(True) == 3:
        # One product is one read and one write already.
        return _reference(x, *gates, scale, join)
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


def _forward(x, rows, columns, channels, planes, scale, join):
    """In the memory of its result alone."""
    views = _views(x, rows, columns, channels, planes)
    if join == 'product':
        out = _times(x, [view for view in views if view is not None])
    else:
        a, b = x * views[2], x * views[3]
        out = torch.maximum(a, b, out=a) if join == 'max' else a.add_(b)
    return out if scale is None else torch.lerp(x, out, scale.to(x.dtype))


def _views(x, rows, columns, channels, planes):
    """The gates as they multiply the map, in its memory format; None for those not given."""
    if planes is not None and planes.shape[1] > 1:
        width = x.shape[1] // planes.shape[1]
        planes = planes[:, :, None].expand(-1, -1, width, -1, -1).flatten(1, 2)
    views = [
        None if rows is None else rows.unsqueeze(3),
        None if columns is None else columns.unsqueeze(2),
        None if channels is None else channels[:, :, None, None],
        planes,
    ]
    if not is_channels_last(x):
        return views
    last = torch.channels_last
    return [None if view is None else view.contiguous(memory_format=last) for view in views]


def _times(x, views, out=None):
    """x times all views; ``out`` may be x itself."""
    for view in views:
        out = torch.mul(x if out is None else out, view, out=out)
    return x if out is None else out


def _backward(grad, x, rows, columns, channels, planes, scale, join):
    """Two full-size temporaries whatever the number of gates."""
    views = _views(x, rows, columns, channels, planes)
    given = [i for i, view in enumerate(views) if view is not None]
    product = grad * x
    if join == 'product':
        dx = _times(grad, [views[i] for i in given])
    else:
        dx, shares = _joined(grad, x, views[2], views[3], join)
    out = [x.new_empty(0) for _ in range(5)]
    if scale is not None:
        out[4] = ((dx - grad) * x).sum(dtype=scale.dtype).reshape(scale.shape)
        dx = torch.lerp(grad, dx, scale.to(x.dtype))
        product *= scale.to(x.dtype)
    sums = [
        lambda t: t.sum(3),
        lambda t: t.sum(2),
        lambda t: t.sum((2, 3)),
        lambda t: t.unflatten(1, (planes.shape[1], -1)).sum(2),
    ]
    for i in given:
        others = shares[i - 2] if join != 'product' else [views[j] for j in given if j != i]
        # The last one needs no memory of its own.
        out[i] = sums[i](_times(product, others, product if i == given[-1] else None))
    return dx, *out


def _joined(grad, x, a, b, join):
    """The map's gradient, and what the product with it is times for a and for b."""
    if join == 'add':
        return torch.addcmul(grad * a, grad, b), ([], [])
    wins = torch.where(x > 0, a > b, a < b).to(x.dtype)
    wins = wins.masked_fill_((a == b) | (x == 0), 0.5)
    loses = 1 - wins
    return grad * (a * wins + b * loses), ([wins], [loses])


def _fake(x, *_):
    return torch.empty_like(x)


_gate = Primitive(
    'gate(Tensor x, Tensor? rows, Tensor? columns, Tensor? channels, Tensor? planes, '
    'Tensor? scale, str join) -> Tensor',
    _reference,
    _backward,
    _fake,
    forward=_forward,
)
