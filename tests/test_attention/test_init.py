"""What a paper says about the first weights holds in a network whose init_cfg says otherwise."""

import pytest
import torch
from mmengine.model import Sequential
from torch import nn

from mmattn.attention import Attention
from mmattn.attention.names import attention_names, find_attention
from mmattn.backbones.base import CONV_INIT
from mmattn.registry import MODELS

NAMES = attention_names()
OWN = [name for name in NAMES if find_attention(name).init_own is not Attention.init_own]


def in_network(module):
    """``module`` after the init_cfg of the network around it, which has other layers too."""
    network = Sequential(nn.Sequential(module), nn.Conv2d(3, 3, 1), init_cfg=CONV_INIT)
    network.init_weights()
    return module


def built(name, **arguments):
    torch.manual_seed(0)
    return find_attention(name)(128, **arguments)


def own_parameters(module):
    """Names of those that its ``init_own`` sets."""
    before = {name: value.clone() for name, value in module.named_parameters()}
    for value in module.parameters():
        nn.init.constant_(value, 7)
    for part in module.modules():
        if isinstance(part, Attention):
            part.init_own()
    found = [name for name, value in module.named_parameters() if not (value == 7).all()]
    module.load_state_dict(before, strict=False)
    return found


def test_these_have_one():
    assert {'GC', 'NonLocal', 'LKA', 'External', 'ParallelPolarized'} <= set(OWN)


@pytest.mark.parametrize('arguments', [{}, {'warm_start': True}], ids=['cold', 'warm'])
@pytest.mark.parametrize('name', OWN)
def test_its_own_init_outlasts_the_networks(name, arguments):
    fresh, module = built(name, **arguments), in_network(built(name, **arguments))
    names = own_parameters(built(name, **arguments))
    assert names
    for key in names:
        own, expected = module.get_parameter(key).detach(), fresh.get_parameter(key).detach()
        if expected.any():
            # Drawn anew, of the same deviation.
            assert own.std().item() == pytest.approx(expected.std().item(), rel=0.25), key
            assert own.mean().abs() < own.std() / 2
        else:
            assert not own.any(), key


@pytest.mark.parametrize('name', sorted(set(NAMES) - set(OWN)))
def test_others_start_as_the_network_says(name, monkeypatch):
    """Bit for bit: a seed gives what it gave."""
    state = in_network(built(name)).state_dict()
    monkeypatch.setattr(Attention, 'apply', nn.Module.apply)
    for key, expected in in_network(built(name)).state_dict().items():
        assert torch.equal(state[key], expected), key


def test_memories_stay_each_others_transpose():
    module = in_network(built('External'))
    assert torch.equal(module.linear_1.weight, module.linear_0.weight.transpose(0, 1))


def test_other_functions_apply_as_ever():
    module = built('GC').apply(lambda part: [nn.init.ones_(p) for p in part.parameters(False)])
    assert all((parameter == 1).all() for parameter in module.parameters())


def test_weights_of_a_file_outlast_both(tmp_path):
    options = dict(type='ResNet', depth=18, num_stages=1, strides=(1,), dilations=(1,))
    options.update(out_indices=(0,), attention=dict(type='GC'))
    network = MODELS.build(options)
    network.init_weights()
    key = 'layer1.0.attn_after_conv2.channel_add_conv.3.weight'
    assert not network.get_parameter(key).any()
    nn.init.ones_(network.get_parameter(key))
    path = tmp_path / 'weights.pth'
    torch.save(network.state_dict(), path)
    pretrained = dict(type='Pretrained', checkpoint=str(path))
    for init_cfg in (pretrained, [*CONV_INIT, pretrained]):
        network = MODELS.build(dict(options, init_cfg=init_cfg))
        network.init_weights()
        assert (network.get_parameter(key) == 1).all()
