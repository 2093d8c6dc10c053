"""Attention on every pyramid level, with the inner neck's keys unprefixed."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmattn.attention import CA, ECA
from mmattn.attention.names import attention_names

FPN = dict(type='FPN', in_channels=[16, 32], out_channels=128, num_outs=3)


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg)


def inputs():
    return [torch.randn(2, 16, 16, 20), torch.randn(2, 32, 8, 10)]


@pytest.mark.parametrize('name', attention_names())
def test_a_detectors_checkpoint_loads_and_keeps_its_outputs(name):
    stock = build(FPN)
    attention = dict(type=name, warm_start=True)
    neck = build(dict(type='mmattn.AttentionNeck', neck=FPN, attention=attention))
    missing, unexpected = neck.load_state_dict(stock.state_dict(), strict=False)
    assert not unexpected and missing and all(key.startswith('levels.') for key in missing)
    assert {key for key in neck.state_dict() if not key.startswith('levels.')} == set(
        stock.state_dict()
    )
    features = inputs()
    outs = neck.eval()(features)
    assert len(outs) == 3 and neck.out_channels == 128
    assert all(torch.equal(a, b) for a, b in zip(outs, stock.eval()(features), strict=True))
    neck.load_state_dict(neck.state_dict(), strict=True)


def test_keys_stay_unprefixed_inside_of_a_model():
    model = torch.nn.ModuleDict(
        dict(neck=build(dict(type='mmattn.AttentionNeck', neck=FPN, attention=dict(type='SE'))))
    )
    keys = set(model.state_dict())
    assert 'neck.lateral_convs.0.conv.weight' in keys
    assert 'neck.levels.2.attn_after_neck.fc1.weight' in keys
    model.load_state_dict(model.state_dict(), strict=True)


def test_levels_may_differ():
    neck = build(
        dict(
            type='mmattn.AttentionNeck',
            neck=FPN,
            attention=[
                dict(type='CA', stages=(True, False, False)),
                dict(type='ECA', stages=(False, True, True)),
            ],
        )
    )
    kinds = [type(level.attn_after_neck) for level in neck.levels]
    assert kinds == [CA, ECA, ECA]


def test_sync_bn_of_the_inner_neck_reaches_the_attention():
    fpn = dict(FPN, norm_cfg=dict(type='SyncBN', requires_grad=True))
    neck = build(dict(type='mmattn.AttentionNeck', neck=fpn, attention=dict(type='CA')))
    assert all(
        isinstance(level.attn_after_neck.bn1, torch.nn.SyncBatchNorm) for level in neck.levels
    )


def test_in_a_list_of_necks_it_takes_channels_and_levels():
    neck = build(
        dict(type='mmattn.AttentionNeck', in_channels=64, num_levels=2, attention=dict(type='SE'))
    )
    features = [torch.randn(1, 64, 8, 8), torch.randn(1, 64, 4, 4)]
    assert [out.shape for out in neck(features)] == [x.shape for x in features]
    with pytest.raises(ValueError, match='2 levels and got 1'):
        neck(features[:1])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(neck=FPN, in_channels=64), 'in_channels=64, but FPN has out_channels=128'),
        (dict(neck=FPN, num_levels=5), 'num_levels=5, but FPN has num_outs=3'),
        ({}, 'without an inner neck: give in_channels'),
        (dict(in_channels=64), 'give num_levels'),
        (dict(in_channels=[64, 64], num_levels=3), 'num_levels=3, but there are channels for 2'),
    ],
)
def test_channels_and_levels_must_be_known_and_agree(options, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='mmattn.AttentionNeck', attention=dict(type='SE'), **options))
