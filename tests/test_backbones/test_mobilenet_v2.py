"""mmattn.MobileNetV2 is the toolboxes' MobileNetV2, plus attention."""

import pytest
import torch
from torch.nn import functional as F

from mmattn.attention import CA, ECA, SCSA, SimAM
from mmattn.registry import MODELS

SMALL = dict(type='MobileNetV2', widen_factor=0.25)
HEAD = 1280 * 1000 + 1000
DILATED = dict(strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4))


@pytest.mark.parametrize(
    ('toolbox', 'options'),
    [
        ('mmpretrain', dict(out_indices=(0, 6, 7))),
        ('mmpretrain', dict(widen_factor=1.4)),
        ('mmdet', {}),
        ('mmdet', dict(act_cfg=dict(type='LeakyReLU', negative_slope=0.1))),
        ('mmseg', {}),
        ('mmseg', DILATED),
    ],
)
def test_without_attention_it_equals_the_stock_network_bit_for_bit(
    in_scope, randomise, toolbox, options
):
    options = {**SMALL, **options}
    stock = randomise(in_scope(toolbox, options))
    ours = in_scope(toolbox, {**options, 'type': 'mmattn.MobileNetV2'})
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert ours.out_indices == tuple(stock.out_indices) and ours.norm_eval == stock.norm_eval
    if toolbox != 'mmdet':
        assert list(ours.state_dict()) == list(stock.state_dict())
    x = torch.randn(2, 3, 45, 64)
    for training in (False, True):
        # The stock class's train() returns None.
        stock.train(training)
        expected, actual = stock(x), ours.train(training)(x)
        assert len(expected) == len(actual)
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg', 'mmpretrain'])
def test_checkpoints_of_each_toolbox_load_in_each_scope(in_scope, randomise, toolbox):
    stock = randomise(in_scope(toolbox, {**SMALL, 'out_indices': (1, 6)}))
    stock.eval()  # returns None
    x = torch.randn(1, 3, 32, 48)
    for scope in ('mmdet', 'mmseg', 'mmpretrain'):
        attention = dict(type='SCSA', warm_start=True)
        cfg = {**SMALL, 'type': 'mmattn.MobileNetV2', 'attention': attention}
        ours = in_scope(scope, {**cfg, 'out_indices': (1, 6)})
        missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
        # mmseg's network ends before the last convolution.
        assert all('.attn_' in key or key.startswith('conv2.') for key in missing)
        assert all(key.startswith('conv2.') for key in unexpected)
        for actual, expected in zip(ours.eval()(x), stock(x), strict=True):
            assert torch.equal(actual, expected)


def test_torchvision_checkpoints_load(randomise):
    torchvision = pytest.importorskip('torchvision')
    stock = randomise(torchvision.models.mobilenet_v2(weights=None)).eval()
    ours = MODELS.build(dict(type='MobileNetV2', attention=dict(type='CA', warm_start=True)))
    missing, unexpected = ours.load_state_dict(stock.state_dict(), strict=False)
    assert unexpected == ['classifier.1.weight', 'classifier.1.bias']
    assert all('.attn_' in key for key in missing)
    x = torch.randn(1, 3, 33, 65)
    torch.testing.assert_close(ours.eval()(x)[0], stock.features(x))


def test_in_mmseg_the_last_convolution_is_there_only_if_asked_for(in_scope):
    cfg = {**SMALL, 'type': 'mmattn.MobileNetV2'}
    assert not hasattr(in_scope('mmseg', cfg), 'conv2')
    assert hasattr(in_scope('mmseg', {**cfg, 'out_indices': (3, 7)}), 'conv2')
    assert hasattr(in_scope('mmdet', {**cfg, 'out_indices': (2, 4, 6)}), 'conv2')


@pytest.mark.parametrize(
    ('attention', 'millions'),
    [
        (None, 3.505),
        (dict(type='SCSA'), 3.619),
        (dict(type='ECA'), 3.505),
        (dict(type='CBAM', position='after_depthwise', bias=False, norm=False), 4.071),
        (dict(type='CA', stages=(False, *(True,) * 6)), 3.951),
    ],
)
def test_parameter_counts_are_the_papers(attention, millions):
    with torch.device('meta'):
        model = MODELS.build(dict(type='MobileNetV2', attention=attention))
    count = sum(p.numel() for p in model.parameters()) + HEAD
    assert round(count / 1e6, 3) == millions


@pytest.mark.parametrize(
    ('kind', 'slot', 'cls', 'channels'),
    [
        ('SCSA', 'attn_after_depthwise', SCSA, 48),
        ('CA', 'attn_after_depthwise', CA, 48),
        ('ECA', 'attn_after_project', ECA, 8),
        ('SimAM', 'attn_before_depthwise_norm', SimAM, 48),
    ],
)
def test_default_positions_are_the_papers(kind, slot, cls, channels):
    model = MODELS.build(dict(**SMALL, attention=dict(type=kind)))
    attention = getattr(model.layer2[0], slot)
    assert type(attention) is cls and attention.in_channels == channels
    assert sum(name.endswith(slot) for name, _ in model.named_modules()) == 17


def test_simam_sits_between_the_depthwise_convolution_and_its_norm(randomise):
    model = randomise(MODELS.build(dict(**SMALL, attention=dict(type='SimAM')))).eval()
    block = model.layer2[1]
    expand, depthwise, project = block.conv
    x = torch.randn(2, 8, 9, 11)
    out = block.attn_before_depthwise_norm(depthwise.conv(expand(x)))
    expected = x + project(F.relu6(depthwise.bn(out)))
    assert torch.equal(block(x), expected)


def test_defaults_that_depend_on_the_stage_follow_the_size_of_the_map():
    model = MODELS.build(dict(**SMALL, attention=dict(type='RGSE')))
    grids = [getattr(model, f'layer{stage}')[0].attn_after_project.grid for stage in range(1, 8)]
    assert grids == [8, 8, 4, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(out_indices=(8,)), ValueError, r'out_indices must be between 0 and 7, got \(8,\)'),
        (dict(frozen_stages=9), ValueError, 'frozen_stages must be between -1 and 7, got 9'),
        (dict(strides=(1, 2)), ValueError, r'strides must have 7 entries.*got \(1, 2\)'),
        (dict(attention=dict(type='SE', stages=(True,) * 4)), ValueError, '7 bools'),
        (
            dict(attention=dict(type='SE', position='after_conv2')),
            ValueError,
            'after_conv2.*InvertedResidual.*after_depthwise, after_project',
        ),
        (dict(init_cfg={}, pretrained='x'), ValueError, 'init_cfg and pretrained'),
        (dict(depth=50), TypeError, 'depth'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build({**SMALL, **options})
