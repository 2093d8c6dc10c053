"""Where attention lands, what it is called, and what bad configs say."""

import copy

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.utils.dl_utils.parrots_wrapper import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn import backbones
from mmattn.attention import CA, CBAM, ECA, SCSA, SE
from mmattn.attention.base import BatchNorm
from mmattn.registry import MODELS


def resnet(depth=18, **options):
    return MODELS.build(dict(type='ResNet', depth=depth, base_channels=16, **options))


def slots(model):
    return {
        name: type(m) for name, m in model.named_modules() if name.split('.')[-1][:5] == 'attn_'
    }


@pytest.mark.parametrize(
    ('depth', 'kind', 'slot', 'channels'),
    [
        (50, 'SCSA', 'attn_after_conv2', 16),
        (50, 'CA', 'attn_after_conv2', 16),
        (50, 'SE', 'attn_after_conv3', 64),
        (50, 'ECA', 'attn_after_conv3', 64),
        (50, 'CBAM', 'attn_after_conv3', 64),
        (50, 'SimAM', 'attn_before_norm2', 16),
        (18, 'SimAM', 'attn_after_conv2', 16),
        (18, 'SCSA', 'attn_after_conv2', 16),
        (18, 'SE', 'attn_after_conv2', 16),
    ],
)
def test_default_positions_are_the_papers(depth, kind, slot, channels):
    model = resnet(depth, attention=dict(type=kind))
    block = model.layer1[0]
    assert getattr(block, slot).in_channels == channels
    assert len(slots(model)) == sum(model.stage_blocks)


def test_stages_positions_and_lists():
    model = resnet(
        attention=[
            dict(type='SE', stages=(True, False, False, False)),
            dict(type='ECA', stages=(False, True, False, False), position='after_conv1'),
            dict(type='mmattn.CA', stages=[False, False, True, True]),
            dict(type=SCSA, stages=(False, False, False, True), head_num=2),
        ]
    )
    found = slots(model)
    assert found['layer1.0.attn_after_conv2'] is SE
    assert found['layer2.1.attn_after_conv1'] is ECA
    assert found['layer4.0.attn_after_conv2'] is CA
    assert found['layer4.0.attn_after_conv2_1'] is SCSA
    assert len(found) == 10
    assert model.layer4[0].attn_after_conv2_1.pcsa.head_num == 2


def test_every_position_changes_the_output():
    x = torch.randn(2, 3, 64, 64)
    outs = []
    for position in (None, 'after_conv1', 'before_norm2', 'after_conv2', 'after_conv3'):
        torch.manual_seed(0)
        attention = dict(type='SE', position=position) if position else None
        model = resnet(50, attention=attention, zero_init_residual=False)
        torch.manual_seed(0)
        model.init_weights()
        outs.append(model(x)[-1])
    for index, out in enumerate(outs):
        assert all(not torch.allclose(out, other) for other in outs[:index])


def test_a_config_is_not_changed():
    attention = [dict(type='SE', position='after_conv1', stages=(True, True, False, False))]
    plugins = [dict(cfg=dict(type='mmattn.ECA', postfix='_x'), position='after_conv2')]
    before = copy.deepcopy((attention, plugins))
    resnet(attention=attention, plugins=plugins)
    assert (attention, plugins) == before


def test_plugins_are_named_as_mmdet_names_them():
    model = resnet(
        50,
        plugins=[
            dict(cfg=dict(type='mmattn.ECA'), position='after_conv2'),
            dict(
                cfg=dict(type='mmattn.SE', reduction=4, postfix='_1'),
                position='after_conv3',
                stages=(False, False, False, True),
            ),
        ],
    )
    assert isinstance(model.layer1[0].attn, ECA) and model.layer1[0].attn.in_channels == 16
    assert not hasattr(model.layer1[0], 'attn_1')
    assert isinstance(model.layer4[0].attn_1, SE) and model.layer4[0].attn_1.in_channels == 512


@pytest.mark.parametrize(
    ('attention', 'error', 'message'),
    [
        (dict(type='SCSAA'), KeyError, 'unknown attention .*SCSAA.*did you mean SCSA.*CBAM'),
        (dict(type='SCAS'), KeyError, r'did you mean SCSA\?'),
        (dict(type='scse'), KeyError, r'did you mean SCSE\?'),
        (dict(type='CBMA'), KeyError, r'did you mean CBAM\?'),
        (dict(type='simam'), KeyError, r'did you mean SimAM\?'),
        (dict(type='MyOwn'), KeyError, "'MyOwn'; valid: .*custom_imports"),
        (dict(type='ResNet'), KeyError, 'not an attention|unknown attention'),
        (dict(type='mmattn.Nothing'), KeyError, 'unknown attention .*mmattn.Nothing'),
        (dict(type=torch.nn.ReLU), KeyError, 'inherits from mmattn.attention.Attention'),
        ('SCSA', TypeError, r"dict\(type='SCSA'\)"),
        (dict(reduction=4), TypeError, "a 'type', one of .*SCSA"),
        (dict(type='SE', ratio=4), TypeError, "SE takes no argument 'ratio'.*reduction"),
        (
            dict(type='SE', position='after_conv4'),
            ValueError,
            'after_conv4.*Bottleneck.*after_conv3',
        ),
        (dict(type='SE', stages=(True, True)), ValueError, r'4 bools.*\(True, True\)'),
        (dict(type='SE', stages=(1, 1, 1, 1)), ValueError, r'4 bools.*\(1, 1, 1, 1\)'),
        (dict(type='SE', reduction=0), ValueError, 'after_conv3 of stage 0.*reduction.*got 0'),
        (
            dict(type='SCSA', group_kernel_sizes=(3, 5, 7)),
            ValueError,
            'after_conv2 of stage 0.*in_channels=16.*3 groups',
        ),
    ],
)
def test_bad_attention_is_named_with_what_is_valid(attention, error, message):
    with pytest.raises(error, match=message):
        resnet(50, attention=attention)


def test_after_conv3_is_not_a_place_in_a_basic_block():
    with pytest.raises(ValueError, match='after_conv3.*BasicBlock.*after_conv2'):
        resnet(18, attention=dict(type='SE', position='after_conv3'))


@pytest.mark.parametrize(
    ('plugin', 'error', 'message'),
    [
        (dict(type='mmattn.SE'), TypeError, "'cfg' and 'position'"),
        (dict(cfg=dict(type='mmattn.SE'), position='last'), ValueError, 'last.*after_conv1'),
        (dict(cfg=dict(type='mmattn.SE'), position='after_conv1', stage=1), TypeError, "'stage'"),
    ],
)
def test_bad_plugins_are_named(plugin, error, message):
    with pytest.raises(error, match=message):
        resnet(50, plugins=[plugin])


def test_two_plugins_of_one_name_are_refused():
    plugin = dict(cfg=dict(type='mmattn.SE'), position='after_conv1')
    with pytest.raises(ValueError, match="called 'attn'.*postfix"):
        resnet(50, plugins=[plugin, plugin])


def test_defaults_that_depend_on_the_stage_come_from_the_slot():
    model = resnet(18, attention=[dict(type='FCA'), dict(type='RGSE')])
    layers = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert [layer[0].attn_after_conv2.dct_size for layer in layers] == [56, 28, 14, 7]
    assert [layer[0].attn_after_conv2_1.grid for layer in layers] == [8, 4, 2, 1]
    model = resnet(18, attention=dict(type='FCA', dct_size=14))
    assert model.layer1[0].attn_after_conv2.dct_size == 14


NORMED = [dict(type=name) for name in ('CA', 'CBAM', 'SPSE')] + [
    dict(type='RGSE', grid=2),
    dict(type='SMSA', norm='BN'),
    dict(type='SCSA', norm='BN'),
]


def norms(model):
    """Each attention with a BatchNorm inside of it."""
    return [
        (module, norm)
        for name, module in model.named_modules()
        if name.rpartition('.')[2].startswith('attn_')
        for norm in module.modules()
        if isinstance(norm, _BatchNorm)
    ]


@pytest.mark.parametrize('name', backbones.__all__)
def test_sync_bn_reaches_the_attention(name, small):
    norm_cfg = dict(type='SyncBN', requires_grad=False, eps=1e-3, momentum=0.03)
    # On 48 channels, which four groups divide.
    place = dict(position='after_conv1') if name == 'DenseNetCIFAR' else {}
    attention = [dict(cfg, **place) for cfg in NORMED]
    model = small(name, norm_cfg=norm_cfg, attention=attention)
    found = norms(model)
    assert {type(owner).__name__ for owner, _ in found} == {cfg['type'] for cfg in NORMED}
    for owner, norm in found:
        assert isinstance(norm, SyncBatchNorm)
        assert all(parameter.requires_grad for parameter in norm.parameters())
        assert (norm.eps, norm.momentum) == (1e-5, 0.01 if isinstance(owner, CBAM) else 0.1)
    keys = [
        {key for key in m.state_dict() if '.attn_' in key}
        for m in (model, small(name, attention=attention))
    ]
    assert keys[0] == keys[1]


def test_the_users_norm_cfg_wins_and_others_than_batch_norm_stay_away():
    def kinds(norms, **attention):
        model = resnet(norm_cfg=norms, attention=dict(type='CA', **attention))
        return {type(m.bn1) for m in model.modules() if isinstance(m, CA)}

    sync = dict(type='SyncBN')
    assert kinds(sync) == {SyncBatchNorm}
    assert kinds(sync, norm_cfg=dict(type='BN')) == {BatchNorm}
    assert kinds(sync, norm_cfg=None) == {BatchNorm}
    assert kinds(dict(type='GN', num_groups=4)) == {BatchNorm}
    assert kinds(dict(type=torch.nn.SyncBatchNorm)) == {torch.nn.SyncBatchNorm}


@torch.no_grad()
@pytest.mark.parametrize('attention', ['SimAM', 'SE', 'SCSA'])
@pytest.mark.parametrize('name', backbones.__all__)
def test_mmcvs_fuse_conv_bn_keeps_the_outputs(name, attention, small, randomise):
    model = randomise(small(name, attention=dict(type=attention))).eval()
    x = torch.randn(2, 3, 64, 64)
    before = model(x)
    after = fuse_conv_bn(copy.deepcopy(model))(x)
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-5 * one.abs().max()
