"""Every registered attention keeps the contract; the registry is walked."""

import pytest
import torch

from mmattn import kernels
from mmattn.attention import ECA, SE
from mmattn.attention.names import attention_names, find_attention
from mmattn.kernels import choice
from mmattn.testing import (
    CHECKS,
    check_compile,
    check_export,
    check_kernels,
    check_onnx,
    check_trace,
)


def test_the_attentions_of_the_scsa_paper_are_there():
    assert {'SE', 'ECA', 'CBAM', 'CA', 'SCSA', 'SMSA', 'PCSA'} <= set(attention_names())


def short_name(check):
    return check.__name__.removeprefix('check_')


@pytest.mark.parametrize('check', CHECKS, ids=short_name)
@pytest.mark.parametrize('name', attention_names())
def test_contract(name, check):
    check(find_attention(name))


# What is traced is pure PyTorch anyway.
TRACED = (check_kernels, check_compile, check_trace, check_export, check_onnx)


@pytest.mark.parametrize('check', [c for c in CHECKS if c not in TRACED], ids=short_name)
@pytest.mark.parametrize('name', attention_names())
def test_contract_in_pure_pytorch(name, check):
    if choice.implementation(torch.empty(0)) == choice.PURE:
        pytest.skip('pure PyTorch alone runs here: the same as test_contract')
    with kernels.using('pure'):
        check(find_attention(name))


@pytest.mark.parametrize('name', attention_names())
def test_mmcv_folds_norms_into_the_convolutions_in_front_of_them(name):
    from mmcv.cnn.utils import fuse_conv_bn

    torch.manual_seed(0)
    module = find_attention(name)(128).eval().double()
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if 'running_var' in key else value + 0.1)
    x = torch.randn(2, 128, 9, 14, dtype=torch.float64)
    expected = module(x)
    torch.testing.assert_close(fuse_conv_bn(module)(x), expected)


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


def test_warm_starts_of_mmattn_0_1_load():
    module = SE(32, warm_start=True)
    state = {key.replace('warm_scale', 'gamma'): w for key, w in module.state_dict().items()}
    state['gamma'] = torch.tensor([0.5])
    module.load_state_dict(state, strict=True)
    assert module.warm_scale.item() == 0.5


def test_a_users_own_gamma_stays():
    class Own(SE):
        def __init__(self, in_channels, warm_start=False):
            super().__init__(in_channels, warm_start=warm_start)
            self.gamma = torch.nn.Parameter(torch.ones(1))

    for warm_start in (False, True):
        module = Own(32, warm_start)
        module.load_state_dict({**module.state_dict(), 'gamma': torch.tensor([0.5])}, strict=True)
        assert module.gamma.item() == 0.5
    assert module.warm_scale.item() == 0
