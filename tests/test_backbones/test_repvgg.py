"""mmattn.RepVGG is mmpretrain's RepVGG, plus attention, also when deployed."""

import copy

import pytest
import torch
from torch import nn

from mmattn.attention.names import attention_names
from mmattn.registry import MODELS

ARCH = dict(num_blocks=[1, 2, 2, 1], width_factor=[0.25] * 4, group_layer_map=None, se_cfg=None)
GROUPED = {**ARCH, 'group_layer_map': {2: 2, 4: 4}}
WITH_SE = {**ARCH, 'se_cfg': dict(ratio=4, divisor=1)}
ALL = (0, 1, 2, 3)
SHORT = dict(num_blocks=[1, 2], width_factor=[0.5, 0.5], group_layer_map=None, se_cfg=dict(ratio=4))


def repvgg(arch=ARCH, **options):
    return MODELS.build(dict(type='RepVGG', arch=copy.deepcopy(arch), out_indices=ALL, **options))


@pytest.mark.parametrize(
    'options',
    [
        dict(arch=ARCH),
        dict(arch=GROUPED, norm_eval=True),
        dict(arch=WITH_SE, out_indices=(2,)),
        dict(arch=ARCH, add_ppf=True),
        dict(arch=ARCH, strides=(2, 2, 1, 1), dilations=(1, 1, 2, 4)),
        dict(arch=ARCH, frozen_stages=2, out_indices=ALL),
    ],
)
def test_without_attention_it_equals_the_stock_network_bit_for_bit(in_scope, randomise, options):
    stock = randomise(in_scope('mmpretrain', dict(type='RepVGG', **copy.deepcopy(options))))
    ours = in_scope('mmpretrain', dict(type='mmattn.RepVGG', **options))
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(stock.state_dict())
    x = torch.randn(2, 3, 45, 64)
    for training in (False, True):
        # The stock class's train() returns None.
        stock.train(training)
        expected, actual = stock(x), ours.train(training)(x)
        assert len(expected) == len(actual)
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))
        trainable = [p.requires_grad for p in stock.parameters()]
        assert [p.requires_grad for p in ours.parameters()] == trainable or not training


@pytest.mark.parametrize('arch', ['A0', 'A2', 'B1g4', 'B3', 'D2se'])
def test_a_published_arch_has_the_stock_keys(in_scope, arch):
    with torch.device('meta'):
        stock = in_scope('mmpretrain', dict(type='RepVGG', arch=arch))
        ours = MODELS.build(dict(type='RepVGG', arch=arch, attention=dict(type='SCSA')))
    shapes = {key: value.shape for key, value in ours.state_dict().items() if 'attn_' not in key}
    assert shapes == {key: value.shape for key, value in stock.state_dict().items()}


@pytest.mark.parametrize(
    ('kind', 'millions'), [(None, 9.11), ('SCSA', 9.18), ('CA', 9.35), ('ECA', 9.11)]
)
def test_parameter_counts_are_the_papers(kind, millions):
    with torch.device('meta'):
        model = MODELS.build(dict(type='RepVGG', arch='A0', attention=kind and dict(type=kind)))
    count = sum(p.numel() for p in model.parameters()) + 1280 * 1000 + 1000
    assert round(count / 1e6, 2) == millions


def test_one_attention_per_block_before_the_nonlinearity(randomise):
    model = randomise(repvgg(attention=dict(type='SCSA', stages=(False, True, True, True)))).eval()
    slots = [name for name, _ in model.named_modules() if name.endswith('.attn_before_act')]
    assert slots == [
        f'stage_{stage}.{block}.attn_before_act'
        for stage, block in [(2, 0), (2, 1), (3, 0), (3, 1), (4, 0)]
    ]
    block = model.stage_2[1]
    x = torch.randn(2, block.in_channels, 9, 11)
    out = block.branch_3x3(x) + block.branch_1x1(x) + block.branch_norm(x)
    assert torch.equal(block(x), block.attn_before_act(out).relu())


@pytest.mark.parametrize('name', [*attention_names(), None])
def test_deploying_keeps_the_attention(randomise, name):
    special = {'SA': dict(groups=4), 'EMA': dict(factor=8), 'PSA': dict(conv_groups='auto')}
    special['SGE'] = dict(groups=8)
    attention = name and dict(type=name, **special.get(name, {}))
    options = dict(
        type='RepVGG',
        arch=SHORT,
        strides=(2, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        attention=attention,
    )
    model = randomise(MODELS.build(options))
    for parameter in model.parameters():
        # Gates that differ from one input to the next.
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 3, 45, 64)
    expected = model.eval()(x)
    attentions = {key for key in model.state_dict() if 'attn_' in key}
    trainable = [p.requires_grad for key, p in model.named_parameters() if 'attn_' in key]
    model.switch_to_deploy()
    model.switch_to_deploy()
    assert model.deploy and not any('branch_3x3' in key for key in model.state_dict())
    assert {key for key in model.state_dict() if 'attn_' in key} == attentions
    assert trainable == [p.requires_grad for k, p in model.named_parameters() if 'attn_' in k]
    for actual, out in zip(model(x), expected, strict=True):
        assert (actual - out).abs().max() <= 1e-4 * out.abs().max()
    fused = MODELS.build(dict(**options, deploy=True))
    fused.load_state_dict(model.state_dict(), strict=True)
    assert all(map(torch.equal, fused.eval()(x), model(x)))


def test_syncbn_deploys_and_groupnorm_is_refused():
    model = repvgg(norm_cfg=dict(type='SyncBN')).eval()
    model.switch_to_deploy()
    assert model(torch.randn(1, 3, 32, 32))[0].isfinite().all()
    model = repvgg(norm_cfg=dict(type='GN', num_groups=4))
    with pytest.raises(ValueError, match="only BatchNorm.*'GN'"):
        model.switch_to_deploy()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(arch='A9'), KeyError, 'no arch .*A9.*valid: A0, A1'),
        (dict(arch='A0', out_indices=(4,)), ValueError, r'out_indices must be between 0 and 3'),
        (dict(arch='A0', frozen_stages=5), ValueError, 'frozen_stages .* -1 and 4, got 5'),
        (dict(arch='A0', strides=(2, 2)), ValueError, r'strides must have 4 entries.*\(2, 2\)'),
        (
            dict(arch='A0', attention=dict(type='SE', position='after_conv2')),
            ValueError,
            'after_conv2.*RepVGGBlock; valid: before_act',
        ),
        (dict(arch=dict(num_blocks=[1])), ValueError, 'a dict with num_blocks, width_factor'),
        (
            dict(arch={**ARCH, 'width_factor': [1]}),
            ValueError,
            r'width_factor must have 4 .*\(1,\)',
        ),
        (dict(arch='A0', init_cfg={}, pretrained='x'), ValueError, 'init_cfg and pretrained'),
        (dict(arch='A0', depth=50), TypeError, 'depth'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='RepVGG', **options))
