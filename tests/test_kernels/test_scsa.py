"""SCSA's operator and the means of windows: beyond the contract of every primitive."""

import pytest
import torch
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import SCSA
from mmattn.kernels import choice

MODES = ('auto', 'pure')
FUSED = choice.implementation(torch.empty(0)) == choice.CPP


def module_and_map(shape, dtype=torch.float32, **arguments):
    torch.manual_seed(0)
    module = SCSA(shape[1], **arguments).to(dtype)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module, torch.randn(shape, dtype=dtype)


def gradients(module, x, mode='auto'):
    leaf = x.detach().requires_grad_()
    with kernels.using(mode):
        out = module(leaf)
        wanted = (leaf, *module.parameters())
        found = torch.autograd.grad(out, wanted, torch.ones_like(out) * x.detach().cos())
    return out.detach(), found


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape', [(2, 8, 5, 6), (1, 8, 16, 9), (3, 4, 7, 7)])
@pytest.mark.parametrize('arguments', [{}, dict(head_num=2), dict(window_size=-1)], ids=str)
def test_gradients_are_those_of_the_formula(arguments, shape, mode):
    """In float64, of the reference, which autograd derives."""
    module, x = module_and_map(shape, torch.float64, **{'window_size': 3, **arguments})
    out, found = gradients(module, x, mode)
    leaf = x.requires_grad_()
    with torch.autograd.forward_ad.dual_level():  # what is transformed takes the reference
        expected = module(leaf)
    wanted = torch.autograd.grad(expected, (leaf, *module.parameters()), x.detach().cos())
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.skipif(not FUSED, reason='there is no C++ here')
@pytest.mark.parametrize('heads', [1, 2])
@pytest.mark.parametrize('strength', [0.0, 0.1, 1.0, 5.0, 20.0, 300.0])
@pytest.mark.parametrize('size', [(7, 6), (14, 16)], ids=['one window', 'windows'])
def test_softmax_of_any_strength(size, strength, heads):
    """One window: the queries span no interval, one, some, or so many that pairs are cheaper.

    Several: the logits are moderate, so that their exponentials need no largest one, or not.
    """
    module, x = module_and_map((2, 208, *size), torch.float64, head_num=heads)
    with torch.no_grad():
        module.pcsa.q.weight.mul_(strength)
    exact, expected = gradients(module, x, 'pure')
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        out, found = gradients(module.to(dtype), x.to(dtype))
        torch.testing.assert_close(out.double(), exact, rtol=0, atol=tolerance)
        for ours, theirs in zip(found, expected, strict=True):
            off, size = (ours.double() - theirs).norm(), theirs.norm().clamp(min=1e-3)
            assert off / size < tolerance * 10


@pytest.mark.parametrize('mode', MODES)
def test_warm_start_is_x_itself_and_a_mixture_beyond(mode):
    module, x = module_and_map((2, 8, 9, 7), warm_start=True)
    plain = SCSA(8)
    plain.load_state_dict(module.state_dict(), strict=False)
    with kernels.using(mode), torch.no_grad():
        for scale in (0.0, 0.3, 1.0):
            module.warm_scale.fill_(scale)
            expected = x + scale * (plain(x) - x)
            torch.testing.assert_close(module(x), expected)
        module.warm_scale.fill_(0)
        assert torch.equal(module(x), x)


@pytest.mark.skipif(not FUSED, reason='there is no C++ here')
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_threads_change_nothing(memory_format):
    """One sample or more than there are threads, to the last bit."""
    before = torch.get_num_threads()
    for batch in (1, 5):
        module, x = module_and_map((batch, 36, 15, 10), head_num=2)
        x = x.to(memory_format=memory_format)
        seen = []
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                out, found = gradients(module, x)
                seen.append((out, *found))
        finally:
            torch.set_num_threads(before)
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


@pytest.mark.parametrize('mode', MODES)
def test_large_logits_neither_overflow_nor_vanish(mode):
    module, x = module_and_map((2, 8, 7, 7))
    with torch.no_grad():
        module.pcsa.q.weight.mul_(1e4)
        module.pcsa.k.weight.mul_(1e4)
    out, found = gradients(module, x, mode)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in found)


@pytest.mark.parametrize('mode', MODES)
def test_little_is_kept_for_the_backward_pass(mode):
    """x, one value for each row, column, window and channel, and no map beside it."""
    module, x = module_and_map((2, 64, 28, 28))
    x.requires_grad_()
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with kernels.using(mode), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = module(x)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    small = 2 * 64 * (28 + 28 + 16 + 1) + 4 * parameters
    assert sum(kept.values()) <= 4 * (x.numel() + small)
    assert out.requires_grad


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('size', [(1, 1), (2, 9), (7, 7), (15, 22)])
def test_window_means_are_a_pooling_of_the_gated_map(size, mode):
    torch.manual_seed(0)
    x, rows, columns = (
        torch.randn(2, 3, *size),
        torch.rand(2, 3, size[0]),
        torch.rand(2, 3, size[1]),
    )
    window = [min(length, 7) for length in size]
    with kernels.using(mode):
        torch.testing.assert_close(kernels.window_means(x, size=7), F.avg_pool2d(x, window))
        gated = x * rows[:, :, :, None] * columns[:, :, None]
        found = kernels.window_means(x, rows, columns, size=7)
        torch.testing.assert_close(found, F.avg_pool2d(gated, window))


@pytest.mark.slow
def test_inductor_compiles_it_forward_and_backward():
    module, x = module_and_map((2, 16, 7, 7))
    compiled = torch.compile(module, fullgraph=True)
    out, found = gradients(compiled, x)
    expected, wanted = gradients(module, x)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
