"""Attentions between positions: their sums, their limits, and what memory they take."""

import inspect

import pytest
import torch
from mmcv.cnn.bricks import NonLocal2d
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn.attention import CAM, GE, PAM, CrissCross, DANet, NonLocal
from mmattn.attention.names import attention_names, find_attention
from mmattn.attention.positions import attend_to

LIMITED = [
    name
    for name in attention_names()
    if 'max_positions' in inspect.signature(find_attention(name)).parameters
]


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return out


@pytest.mark.parametrize('widths', [(4, 4), (1, 8), (8, 3)], ids=str)
def test_attend_to_equals_its_formula(widths):
    torch.manual_seed(0)
    shapes = ((2, 7, widths[0]), (2, 5, widths[0]), (2, 5, widths[1]))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    queries, keys, values = inputs
    expected = (0.3 * queries @ keys.transpose(1, 2)).softmax(2) @ values
    torch.testing.assert_close(attend_to(*inputs, scale=0.3), expected)
    with torch.no_grad():
        torch.testing.assert_close(attend_to(*inputs, scale=0.3), expected.detach())
    assert torch.autograd.gradcheck(attend_to, inputs)
    assert torch.autograd.gradgradcheck(attend_to, inputs)


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(
    'module',
    [PAM(32), NonLocal(32), NonLocal(32, mode='gaussian'), NonLocal(32, mode='dot_product')],
    ids=lambda module: getattr(module, 'mode', 'PAM'),
)
def test_the_pairs_of_positions_are_not_written_out(module, training):
    x = torch.randn(1, 32, 40, 50, requires_grad=training)
    with Largest() as largest:
        out = randomised(module)(x)
        if training:
            out.sum().backward()
    assert largest.numel < 3 * x.numel() < 2000 * 2000


@pytest.mark.parametrize('sub_sample', [False, True], ids=['all', 'sub_sample'])
@pytest.mark.parametrize('mode', ['embedded_gaussian', 'gaussian', 'dot_product', 'concatenation'])
def test_every_mode_of_non_local_is_mmcvs(mode, sub_sample):
    torch.manual_seed(0)
    options = dict(mode=mode, reduction=4, sub_sample=sub_sample)
    stock = randomised(NonLocal2d(32, norm_cfg=dict(type='BN'), **options)).double()
    module = NonLocal(32, norm=True, **options).eval().double()
    module.load_state_dict(stock.state_dict(), strict=True)
    x = torch.randn(2, 32, 7, 9, dtype=torch.float64)
    torch.testing.assert_close(module(x), stock(x))


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (5, 1)], ids=str)
def test_sub_sample_takes_a_side_of_one(size):
    module = randomised(NonLocal(16, sub_sample=True))
    assert module(torch.randn(2, 16, *size)).isfinite().all()


def test_non_local_takes_sequences_and_volumes_unless_it_pools():
    x = torch.randn(2, 16, 3, 4, 5)
    assert NonLocal(16)(x).shape == x.shape
    with pytest.raises(ValueError, match=r'NonLocal: .* \(N, C, H, W\), got \(2, 16, 3, 4, 5\)'):
        NonLocal(16, sub_sample=True)(x)


def test_ge_takes_volumes_where_it_gathers_the_whole_map():
    x = torch.randn(2, 16, 3, 4, 5)
    assert GE(16)(x).shape == x.shape
    for options in (dict(extent=2), dict(extra_params=True)):
        with pytest.raises(ValueError, match=r'GE: the input must be \(N, C, H, W\)'):
            GE(16, **options)(x)


@pytest.mark.parametrize('name', LIMITED)
def test_a_map_that_is_too_large_is_refused_before_it_takes_memory(name):
    cls = find_attention(name)
    x = torch.randn(1, 32, 40, 100)
    with pytest.raises(ValueError) as info:
        cls(32, max_positions=32)(x)
    message = str(info.value)
    for part in ('40 x 100', '4000 positions', 'GiB', 'max_positions=32', 'raise max_positions'):
        assert part in message
    for most in (4000, None):
        assert cls(32, max_positions=most)(x).shape == x.shape


def test_the_limits_are_those_of_attentions_between_positions():
    assert LIMITED == ['CrissCross', 'DANet', 'NonLocal', 'PAM']


def test_criss_cross_counts_columns_and_rows():
    """128 x 256 takes 12.6 million logits, as many as 3548 positions among themselves."""
    x = torch.zeros(1, 8, 128, 256)
    with pytest.raises(ValueError, match='12582912 pairs'):
        CrissCross(8, max_positions=3547)(x)
    assert torch.equal(CrissCross(8, max_positions=3548)(x), x)


def test_dot_product_has_no_limit():
    x = torch.randn(1, 8, 20, 20)
    assert NonLocal(8, mode='dot_product', max_positions=1)(x).shape == x.shape


def test_two_rounds_of_criss_cross_reach_every_position():
    torch.manual_seed(0)
    for recurrence, reached in ((1, 4 + 5 - 1), (2, 4 * 5)):
        module = randomised(CrissCross(8, recurrence=recurrence))
        x = torch.randn(1, 8, 4, 5, requires_grad=True)
        module(x)[0, :, 1, 2].sum().backward()
        assert x.grad.abs().sum((0, 1)).count_nonzero() == reached


def test_cam_of_a_bfloat16_map_has_the_digits_of_float32():
    """Sums over a map in 16 bits would leave its softmax none."""
    torch.manual_seed(0)
    module = CAM(32, warm_start=False).bfloat16()
    nn.init.ones_(module.gamma)
    x = torch.randn(1, 32, 64, 64).bfloat16()
    exact = CAM(32).double()
    nn.init.ones_(exact.gamma)
    expected = exact(x.double())
    error = (module(x).double() - expected).norm() / expected.norm()
    assert error < 0.005


@pytest.mark.parametrize('name', ['PAM', 'CAM', 'CrissCross', 'NonLocal', 'GC', 'GCT'])
def test_what_starts_as_the_identity_does_so_with_and_without_warm_start(name):
    x = torch.randn(2, 32, 5, 6)
    for warm_start in (False, True):
        module = find_attention(name)(32, warm_start=warm_start)
        torch.testing.assert_close(module(x), x)
    # The learned share of the warm start is the only zero: both would never learn.
    grad = torch.autograd.grad(module(x).square().sum(), module.warm_scale)[0]
    assert grad.item() != 0


def test_danet_drops_channels_in_training_alone():
    torch.manual_seed(0)
    module = randomised(DANet(32, dropout_ratio=0.5))
    x = torch.randn(2, 32, 5, 6)
    assert torch.equal(module(x), module(x))
    module.train()
    assert not torch.equal(module(x), module(x))


def test_ge_spreads_as_the_nearest_of_torch():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, 10)
    means = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    gate = F.interpolate(means, size=(7, 10), mode='nearest').sigmoid()
    torch.testing.assert_close(GE(4, extent=2, use_mlp=False)(x), x * gate)
