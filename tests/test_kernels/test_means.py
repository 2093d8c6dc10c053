"""Means and weighted sums by hand. The rest is test_primitives'."""

import pytest
import torch

from mmattn.kernels import combine, mean, means, project, using

MODES = ['pure', 'auto']
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(params=FORMATS, ids=['nchw', 'channels_last'])
def x(request):
    x = torch.arange(2 * 4 * 3 * 5, dtype=torch.float64).view(2, 4, 3, 5).sin()
    return x.to(memory_format=request.param)


@pytest.mark.parametrize('mode', MODES)
def test_formulas(x, mode):
    planes = torch.arange(30, dtype=torch.float64).view(2, 3, 5).cos()
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    with using(mode):
        rows, columns = means(x)
        torch.testing.assert_close(rows, x.mean(3))
        torch.testing.assert_close(columns, x.mean(2))
        torch.testing.assert_close(mean(x), x.mean((2, 3)))
        torch.testing.assert_close(project(x, planes), (x * planes[[0, 0, 1, 1]]).sum((2, 3)))
        plane = torch.einsum('nchw,c->nhw', x, weights).unsqueeze(1) + 0.5
        bias = torch.tensor([0.5], dtype=torch.float64)
        torch.testing.assert_close(combine(x, weights, bias), plane)
        with torch.no_grad():
            torch.testing.assert_close(combine(x, weights, bias), plane)


def test_gradient_of_the_mean_is_no_map(x):
    """So that it is added to the other gradient of the map in one pass."""
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(mean(x).sum(), x)
    assert gradient.untyped_storage().size() == 2 * 4 * x.element_size()
    torch.testing.assert_close(gradient, torch.full_like(x, 1 / 15))
    assert torch.autograd.gradcheck(mean, x)
    assert torch.autograd.gradgradcheck(mean, x)


@pytest.mark.parametrize('mode', MODES)
def test_constant_planes_cost_no_gradient(x, mode):
    planes = torch.rand(4, 3, 5, dtype=torch.float64)
    x.requires_grad_()
    with using(mode):
        project(x, planes).sum().backward()
    torch.testing.assert_close(x.grad, planes.expand_as(x))
