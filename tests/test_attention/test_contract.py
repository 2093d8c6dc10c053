"""Every registered attention keeps the contract; the registry is walked."""

import copy

import pytest
import torch

from mmattn.attention import ECA, SE
from mmattn.attention.names import attention_names, find_attention
from mmattn.registry import MODELS

ALL = attention_names()
# SA's 64 groups need two channels each.
CHANNELS = 128
SIZES = [(1, 1), (3, 5), (7, 7), (14, 9), (50, 38)]


def build(name, channels=CHANNELS, **arguments):
    torch.manual_seed(0)
    return MODELS.build(dict(type=name, in_channels=channels, **arguments))


def test_the_attentions_of_the_scsa_paper_are_there():
    assert {'SE', 'ECA', 'CBAM', 'CA', 'SCSA', 'SMSA', 'PCSA'} <= set(ALL)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
@pytest.mark.parametrize('name', ALL)
def test_any_size_keeps_shape_and_has_gradients(name, size, training):
    module = build(name).train(training)
    x = torch.randn(2, CHANNELS, *size, requires_grad=True)
    out = module(x)
    assert out.shape == x.shape and out.isfinite().all()
    out.square().sum().backward()
    assert x.grad.isfinite().all() and x.grad.abs().sum() > 0
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize('name', ALL)
def test_memory_format_does_not_change_the_output(name):
    module = build(name).eval()
    x = torch.randn(2, CHANNELS, 9, 14)
    torch.testing.assert_close(module(x.to(memory_format=torch.channels_last)), module(x))


@pytest.mark.parametrize('name', ALL)
def test_bfloat16_in_and_out(name):
    module = build(name).eval().bfloat16()
    x = torch.randn(2, CHANNELS, 9, 14).bfloat16()
    out = module(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), module.float()(x.float()), atol=0.1, rtol=0.1)


@pytest.mark.parametrize('name', ALL)
def test_warm_start_is_the_exact_identity_and_learns(name):
    module = build(name, warm_start=True)
    x = torch.randn(4, CHANNELS, 9, 14)
    for training in (True, False):
        assert torch.equal(module.train(training)(x), x)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    module.train()
    before = copy.deepcopy(module.state_dict())
    for step in range(2):
        optimizer.zero_grad()
        (module(x) * x.roll(1, 0)).sum().backward()
        optimizer.step()
        if step == 0:
            assert not torch.equal(module.warm_scale, before['warm_scale'])
    for key, parameter in module.named_parameters():
        # A shift of all keys cancels in a softmax, of all logits in a norm.
        assert not torch.equal(parameter, before[key]) or parameter.grad.abs().max() < 1e-6, key


@pytest.mark.parametrize('name', ALL)
def test_warm_start_keeps_the_dtype_of_mixed_precision(name):
    module = build(name, warm_start=True).eval()
    x = torch.randn(1, CHANNELS, 8, 8).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        out = module(x)
    assert torch.equal(out.to(x.dtype), x)


@pytest.mark.parametrize('name', ALL)
def test_state_dict_round_trip_and_repr(name):
    module, other = build(name).eval(), build(name, warm_start=False).eval()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    other.load_state_dict(module.state_dict(), strict=True)
    x = torch.randn(1, CHANNELS, 7, 7)
    assert torch.equal(module(x), other(x))
    assert f'in_channels={CHANNELS}' in repr(module)


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('channels', [0, -8, 2.5, '64'])
def test_bad_channels_are_named(name, channels):
    with pytest.raises(ValueError, match=rf'in_channels.*{channels}'):
        find_attention(name)(channels)


@pytest.mark.parametrize(('channels', 'kernel'), [(64, 3), (128, 5), (256, 5), (2048, 7)])
def test_eca_adapts_its_kernel_as_the_paper_says(channels, kernel):
    assert ECA(channels).conv.kernel_size == (kernel,)


def test_mmpretrain_weights_of_se_load():
    from mmpretrain.models.utils import SELayer

    stock = SELayer(128, ratio=16, act_cfg=(dict(type='ReLU'), dict(type='Sigmoid'))).eval()
    module = SE(128, bias=True).eval()
    module.load_state_dict(stock.state_dict(), strict=True)
    x = torch.randn(2, 128, 5, 6)
    torch.testing.assert_close(module(x), stock(x))
