"""Inputs of every primitive, for the contract that test_primitives.py holds all of them to.

An entry of ``EXAMPLES`` is named after its primitive, and after a space what is special about
it; its function takes the shape (N, C, H, W) of the map and a dtype and returns the inputs of
the operator, the map first. Any shape has to do: one channel, a prime number, one pixel.
"""

import torch


def values(*shape, dtype):
    """The same numbers in every dtype, but for its rounding."""
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def gate_values(*shape, dtype):
    return torch.rand(shape, dtype=torch.float64).add(0.1).to(dtype)


def divisor(channels, most=4):
    """The largest number of groups, up to ``most``, that the channels can be cut into."""
    return max(n for n in range(1, most + 1) if channels % n == 0)


def means(shape, dtype):
    return (values(*shape, dtype=dtype),)


def gate(*given, join='product'):
    """An example of ``gate`` with these of its gates."""

    def inputs(shape, dtype):
        n, c, h, w = shape
        shapes = dict(
            rows=(n, c, h),
            columns=(n, c, w),
            channels=(n, c),
            planes=(n, 1, h, w),
            grouped=(n, divisor(c), h, w),
            elements=(n, c, h, w),
        )
        x = values(*shape, dtype=dtype)
        gates = {name: gate_values(*shapes[name], dtype=dtype) for name in shapes if name in given}
        for name in ('grouped', 'elements'):
            if name in gates:
                gates['planes'] = gates.pop(name)
        names = ('rows', 'columns', 'channels', 'planes')
        scale = None
        if 'scale' in given:
            scale = torch.tensor([0.7], dtype=torch.promote_types(dtype, torch.float32))
        return x, *(gates.get(name) for name in names), scale, join

    return inputs


def project(shape, dtype):
    wide = torch.promote_types(dtype, torch.float32)
    planes = values(divisor(shape[1]), *shape[2:], dtype=wide)
    return values(*shape, dtype=dtype), planes, True


def combine(shape, dtype):
    wide = torch.promote_types(dtype, torch.float32)
    return values(*shape, dtype=dtype), values(shape[1], dtype=wide)


def channel_pool(shape, dtype):
    return values(*shape, dtype=dtype), gate_values(*shape[:2], dtype=dtype)


def shuffle_gate(shape, dtype):
    """On twice the channels: they have to have halves."""
    n, c, h, w = shape
    parameters = [values(2, c // divisor(c), dtype=dtype) for _ in range(2)]
    return values(n, 2 * c, h, w, dtype=dtype), *parameters, divisor(c), 1e-5


def stripes(shape, dtype):
    channels = shape[1]
    weights = values(channels, 103, dtype=dtype) / 4
    return values(*shape, dtype=dtype), weights, values(channels, 7, dtype=dtype)


def crossed(shape, dtype):
    n, c, h, w = shape
    gates = gate_values(n, c, h, dtype=dtype), gate_values(n, c, w, dtype=dtype)
    kernel = values(c // divisor(c), 3, 3, dtype=dtype)
    eps = 0.3  # with less, the gate of a single row has next to no effect
    return values(*shape, dtype=dtype), *gates, values(n, c, dtype=dtype), kernel, eps


def simam(*given):
    def inputs(shape, dtype):
        scale = torch.tensor([0.7], dtype=torch.promote_types(dtype, torch.float32))
        return values(*shape, dtype=dtype), scale if given else None, 1e-4

    return inputs


def window_means(*given):
    def inputs(shape, dtype):
        n, c, h, w = shape
        gates = [gate_values(n, c, length, dtype=dtype) if given else None for length in (h, w)]
        return values(*shape, dtype=dtype), *gates, 3 if h < 7 else 7

    return inputs


def scsa(*given):
    """An example of ``scsa``: groups of two channels or more, two heads.

    A norm over equal values has nothing but rounding to divide by eps: it is large here.
    """

    def inputs(shape, dtype):
        c = shape[1]
        wide = torch.promote_types(dtype, torch.float32)
        sizes = [3, 7, 1][: divisor(c, max(1, min(3, c // 2)))]
        parameters = [values(c // len(sizes) * sum(sizes), dtype=wide)]
        parameters += [values(c, dtype=wide) for _ in range(10)]
        scale = torch.tensor([0.7], dtype=wide) if given else None
        heads = divisor(c, 2)
        eps = [0.1, 0.2, 0.3]
        window = max(3, shape[2] // 8)
        return values(*shape, dtype=dtype), *parameters, scale, sizes, heads, window, 0.1, eps

    return inputs


EXAMPLES = {
    'means': means,
    'project': project,
    'combine': combine,
    'gate rows': gate('rows'),
    'gate columns': gate('columns'),
    'gate channels': gate('channels'),
    'gate planes': gate('planes'),
    'gate grouped planes': gate('grouped'),
    'gate elements': gate('elements'),
    'gate elements, scale': gate('elements', 'scale'),
    'gate channels, elements': gate('channels', 'elements'),
    'gate strips': gate('rows', 'columns'),
    'gate strips, scale': gate('rows', 'columns', 'scale'),
    'gate strips and channels': gate('rows', 'columns', 'channels'),
    'gate all, scale': gate('rows', 'columns', 'channels', 'planes', 'scale'),
    'gate channels, scale': gate('channels', 'scale'),
    'gate channels times planes': gate('channels', 'planes'),
    'gate channels plus planes': gate('channels', 'planes', join='add'),
    'gate channels or planes': gate('channels', 'planes', join='max'),
    'gate channels plus planes, scale': gate('channels', 'planes', 'scale', join='add'),
    'gate channels or planes, scale': gate('channels', 'planes', 'scale', join='max'),
    'mean_max': means,
    'channel_pool': channel_pool,
    'shuffle_gate': shuffle_gate,
    'stripes': stripes,
    'crossed': crossed,
    'simam': simam(),
    'simam with scale': simam('scale'),
    'window_means': window_means(),
    'window_means of gated': window_means('gates'),
    'scsa': scsa(),
    'scsa with scale': scsa('scale'),
}
