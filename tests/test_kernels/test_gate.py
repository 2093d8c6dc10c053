"""The gate: its formula by hand, its shortcuts, what it saves. The rest is test_primitives'."""

import pytest
import torch

from mmattn.kernels import gate, using

MODES = ['pure', 'auto']


def some(*shape):
    return torch.rand(shape, dtype=torch.float64) + 0.1


@pytest.mark.parametrize('mode', MODES)
def test_formula(mode):
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    rows, columns, channels, planes = some(2, 4, 3), some(2, 4, 5), some(2, 4), some(2, 2, 3, 5)
    scale = torch.tensor([0.3], dtype=torch.float64)
    gates = dict(rows=rows, columns=columns, channels=channels, planes=planes)
    product = torch.einsum('nch,ncw,nc->nchw', rows, columns, channels)
    product = product * planes[:, [0, 0, 1, 1]]
    with using(mode):
        torch.testing.assert_close(gate(x, **gates), x * product)
        expected = x * (1 + 0.3 * (product - 1))
        torch.testing.assert_close(gate(x, **gates, scale=scale), expected)
        assert torch.equal(gate(x, **gates, scale=scale * 0), x)


@pytest.mark.parametrize('join', ['max', 'add'])
@pytest.mark.parametrize('mode', MODES)
def test_joins(mode, join):
    """Of negative values the larger product is that with the smaller gate."""
    x = torch.tensor([1.0, -1.0, 2.0]).view(1, 1, 1, 3)
    channels, planes = torch.tensor([[0.5]]), torch.tensor([0.25, 0.25, 0.75]).view(1, 1, 1, 3)
    expected = dict(max=[0.5, -0.25, 1.5], add=[0.75, -0.75, 2.5])[join]
    with using(mode):
        out = gate(x, channels=channels, planes=planes, join=join)
    assert out.flatten().tolist() == expected


@pytest.mark.parametrize('mode', MODES)
def test_nothing_but_the_map_and_the_gates_is_saved(mode):
    x = torch.randn(2, 8, 9, 9, requires_grad=True)
    gates = dict(rows=torch.rand(2, 8, 9, requires_grad=True), channels=torch.rand(2, 8))
    saved = []
    with using(mode), torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        gate(x, **gates)
    assert {t.data_ptr() for t in saved} == {t.data_ptr() for t in (x, *gates.values())}


@pytest.mark.parametrize('mode', MODES)
def test_gates_of_another_dtype(mode):
    """Autocast computes a sigmoid of a norm in float32."""
    x = torch.randn(1, 2, 3, 3).bfloat16()
    channels = torch.rand(1, 2)
    with using(mode):
        out = gate(x, channels=channels)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, x * channels.bfloat16()[:, :, None, None])


def test_a_second_derivative_where_the_gate_comes_from_the_map():
    def penalty(times):
        leaf = x.clone().requires_grad_()
        out = times(leaf, leaf.square().mean((2, 3)))
        (gradient,) = torch.autograd.grad(out.pow(3).sum(), leaf, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), leaf)[0]

    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = penalty(lambda x, channels: x * channels[:, :, None, None])
    torch.testing.assert_close(penalty(lambda x, channels: gate(x, channels=channels)), expected)


def test_an_unknown_join():
    with pytest.raises(ValueError, match=r"one of product, max, add, got 'sum'"):
        gate(torch.ones(1, 2, 3, 3), channels=torch.ones(1, 2), join='sum')
