"""Checkpoints of the toolboxes load, are counted, and must fit."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.runner import load_checkpoint

from mmattn.attention.names import attention_names
from mmattn.registry import MODELS


def ours(**options):
    return MODELS.build(
        dict(
            type='ResNet',
            depth=18,
            attention=dict(type='SE', warm_start=True),
            out_indices=(3,),
            **options,
        )
    )


@pytest.mark.parametrize('kind', ['ResNetV1c', 'ResNetV1d'])
@pytest.mark.parametrize('toolbox', ['mmdet', 'mmseg', 'mmpretrain'])
def test_deep_stem_checkpoints_of_each_toolbox_load(tmp_path, in_scope, randomise, toolbox, kind):
    deep = dict(deep_stem=True, avg_down=kind == 'ResNetV1d')
    stock = randomise(in_scope(toolbox, dict(type='ResNet', depth=50, out_indices=(3,), **deep)))
    path = tmp_path / 'stock.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in stock.state_dict().items()}), path)
    model = MODELS.build(
        dict(
            type=kind,
            depth=50,
            out_indices=(3,),
            attention=dict(type='SE', warm_start=True),
            init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'),
        )
    )
    model.init_weights()
    x = torch.randn(1, 3, 64, 64)
    stock.eval()  # returns None
    assert torch.equal(model.eval()(x)[0], stock(x)[0])


TOLD_FROM_WEIGHTS = {
    'MobileNetV2': dict(widen_factor=0.5),
    'RepVGG': dict(arch='A0'),
    'Res2Net': dict(depth=50, avg_down=False),
    'ResNet': dict(depth=18),
    'SwinTransformer': dict(arch='tiny', window_size=8, out_indices=(1, 3)),
}


def test_each_network_knows_its_own_weights_and_no_others():
    networks = {n: c for n, c in MODELS.module_dict.items() if 'config_from' in vars(c)}
    networks.pop('AttentionBackbone', None)
    assert set(networks) == set(TOLD_FROM_WEIGHTS)
    for name, options in TOLD_FROM_WEIGHTS.items():
        state = MODELS.build(dict(type=name, **options)).state_dict()
        shapes = {key: value.shape for key, value in state.items()}
        names = networks[name].own_names(shapes)
        assert all(names.get(key, key) == key for key in shapes), name
        found = {n: cls.config_from(shapes) for n, cls in networks.items()}
        (config,) = filter(None, found.values())
        assert found[name] is config
        again = MODELS.build(config).state_dict()
        assert {key: value.shape for key, value in again.items()} == shapes


def test_loading_reports_the_matches(caplog):
    logger = MMLogger.get_instance('loading', logger_name='loading')
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.INFO):
        model = ours()
        stock = MODELS.build(dict(type='ResNet', depth=18))
        model.load_state_dict(stock.state_dict(), strict=False)
        assert 'matches 100 of 100 stock keys and 0 of 24 attention keys' in caplog.text
        caplog.clear()
        # mmattn 0.1's name of the warm start's parameter
        state = {key.replace('warm_scale', 'gamma'): w for key, w in model.state_dict().items()}
        model.load_state_dict(state, strict=True)
        assert 'matches 100 of 100 stock keys and 24 of 24 attention keys' in caplog.text


def test_a_checkpoint_of_another_depth_is_refused():
    stock = MODELS.build(dict(type='ResNet', depth=50))
    with pytest.raises(ValueError, match='does not fit ResNet.*another shape.*depth or width'):
        ours().load_state_dict(stock.state_dict(), strict=False)


def test_a_forgotten_prefix_is_named(tmp_path):
    stock = MODELS.build(dict(type='ResNet', depth=18))
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in stock.state_dict().items()}), path)
    with pytest.raises(ValueError, match=r"load it with prefix='backbone\.'"):
        load_checkpoint(ours(), str(path))


def test_an_unrelated_checkpoint_is_refused():
    with pytest.raises(ValueError, match=r"0 of its 100 stock keys.*look like \['some.key'\]"):
        ours().load_state_dict({'some.key': torch.zeros(1)}, strict=False)


def test_torchvision_weights_without_counters_count_as_complete():
    state = {
        key: value
        for key, value in MODELS.build(dict(type='ResNet', depth=18)).state_dict().items()
        if 'num_batches_tracked' not in key
    }
    missing, _ = ours().load_state_dict(state, strict=False)
    assert all('.attn_' in key or 'num_batches_tracked' in key for key in missing)


def test_pretrained_weights_are_not_zeroed(tmp_path, randomise):
    stock = randomise(MODELS.build(dict(type='ResNet', depth=18)))
    path = tmp_path / 'weights.pth'
    torch.save(stock.state_dict(), path)
    with pytest.warns(UserWarning, match='pretrained is deprecated'):
        model = MODELS.build(dict(type='ResNet', depth=18, pretrained=str(path)))
    model.init_weights()
    assert torch.equal(model.layer1[0].norm(2).weight, stock.layer1[0].norm(2).weight)
    fresh = MODELS.build(dict(type='ResNet', depth=18))
    fresh.init_weights()
    assert not fresh.layer1[0].norm(2).weight.any()


# What has no gradient in the second step: a bias in front of a batch norm (that of the block
# included), of keys or in front of a softmax never has one, and SA's paper starts the weight
# behind its norm at zero, DANet's the share of its attention.
STILL = {
    'A2': {'gather.bias'},
    'BAM': {'channel_layers.0.0.bias', 'reduce.0.bias', 'dilated.0.0.bias', 'dilated.1.0.bias'},
    'CA': {'conv1.bias'},
    'CAA': {'h_conv.conv.bias', 'v_conv.conv.bias'},
    # In front of another norm, the scale of one cancels.
    'CoT': {'conv1x1.1.weight'},
    'CrissCross': {'key_conv.bias', 'value_conv.bias'},
    'DANet': {
        f'sa.{name}_conv.{kind}'
        for name in ('query', 'key', 'value')
        for kind in ('weight', 'bias')
    },
    'External': {'conv1.bias'},
    'GAM': {'spatial_attention.0.bias', 'spatial_attention.3.bias'},
    'NonLocal': {'conv_out.bias'},
    'PAM': {'key_conv.bias', 'value_conv.bias'},
    'SA': {'gn.weight', 'gn.bias'},
    'SPSE': {'convs.0.bias', 'convs.1.bias', 'convs.2.bias'},
    # Starts without a style: there is nothing to normalise yet.
    'SRM': {'bn.weight'},
}


@pytest.fixture(scope='module')
def torchvision_resnet50(randomise):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    return randomise(resnet50()).eval()


@pytest.mark.parametrize('name', attention_names())
def test_warm_start_keeps_torchvisions_resnet50_and_then_moves(torchvision_resnet50, name):
    stock = torchvision_resnet50
    model = MODELS.build(dict(type='ResNet', depth=50, attention=dict(type=name, warm_start=True)))
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert set(unexpected) == {'fc.weight', 'fc.bias'}
    assert missing and all('.attn_' in key for key in missing)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = torch.nn.Sequential(*list(stock.children())[:-2])(x)
        assert torch.equal(model.eval()(x)[0], features)

    model.train()
    slots = {key: p for key, p in model.named_parameters() if '.attn_' in key}
    before = {key: p.detach().clone() for key, p in slots.items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0)
    target = torch.randn(2, 2048, 2, 2)
    for step in range(2):
        optimizer.zero_grad()
        (model(x)[0] - target).square().mean().backward()
        optimizer.step()
        if step == 0:
            moved = {key for key, p in slots.items() if not torch.equal(p, before[key])}
            assert moved == {key for key in slots if key.endswith('.warm_scale')}
    # By the gradient: a step along a small one can be below the weight's precision.
    moved = {key for key, p in slots.items() if p.grad is not None and p.grad.any()}
    # A unit of a hidden layer may be off for both images, but not in every block.
    moved = {key.split('.attn_')[1].split('.', 1)[1] for key in moved}
    everywhere = {key.split('.attn_')[1].split('.', 1)[1] for key in slots} - moved
    assert everywhere <= STILL.get(name, set())
