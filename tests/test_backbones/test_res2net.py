"""mmattn.Res2Net is the toolboxes' Res2Net, plus attention."""

import importlib
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import SE, Attention
from mmattn.registry import MODELS

# Arguments of a variant -> the toolboxes whose stock class honours them.
BOTH = ('mmdet', 'mmpretrain')
VARIANTS = {
    '26w4s-v1b': (dict(depth=50), BOTH),
    '14w8s': (dict(depth=50, scales=8, base_width=14), BOTH),
    '48w2s': (dict(depth=50, scales=2, base_width=48), BOTH),
    '26w4s': (dict(depth=50, deep_stem=False, avg_down=False), ('mmpretrain',)),
    'caffe': (dict(depth=50, style='caffe', avg_down=False), ('mmpretrain',)),
    'stages': (
        dict(depth=50, num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 2), out_indices=(1, 2)),
        BOTH,
    ),
    'gn': (dict(depth=50, norm_cfg=dict(type='GN', num_groups=2)), BOTH),
    'dcn': (
        dict(
            depth=50,
            dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
            stage_with_dcn=(False, True, True, True),
        ),
        ('mmdet',),
    ),
}


@pytest.mark.parametrize(
    ('toolbox', 'variant'),
    [(toolbox, name) for name, (_, boxes) in VARIANTS.items() for toolbox in boxes],
)
def test_without_attention_it_equals_the_stock_res2net_bit_for_bit(
    in_scope, randomise, toolbox, variant
):
    arguments, _ = VARIANTS[variant]
    stock = randomise(in_scope(toolbox, dict(type='Res2Net', **arguments)))
    ours = in_scope(toolbox, dict(type='mmattn.Res2Net', **arguments))
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert ours.out_indices == tuple(stock.out_indices) and ours.norm_eval == stock.norm_eval
    x = torch.randn(2, 3, 48, 64)
    for training in (False, True):
        # The stock classes' train() returns None.
        stock.train(training)
        expected, actual = stock(x), ours.train(training)(x)
        assert len(expected) == len(actual)
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize('toolbox', ['mmdet', 'mmpretrain'])
def test_the_toolboxes_own_configs_take_it(in_scope, toolbox):
    folder = Path(importlib.import_module(toolbox).__file__).parent / '.mim/configs/res2net'
    seen = {}
    for path in sorted(folder.glob('*.py')):
        backbone = Config.fromfile(path).model.backbone
        # Several configs share one backbone.
        seen[repr(sorted(backbone.items()))] = backbone
    assert seen
    for backbone in seen.values():
        assert backbone.type == 'Res2Net'
        with torch.device('meta'):
            model = in_scope(toolbox, {**backbone, 'type': 'mmattn.Res2Net'})
        assert model.depth == backbone.depth and model.scales == backbone.scales


def test_the_toolboxes_pooling_can_be_chosen(in_scope, randomise):
    """mmpretrain pools in the first block of stage 1, mmdet does not."""
    stock = randomise(in_scope('mmpretrain', dict(type='Res2Net', depth=50)))
    cfg = dict(type='mmattn.Res2Net', depth=50, out_indices=(3,))
    x = torch.randn(1, 3, 64, 64)
    stock.eval()
    expected = stock(x)[0]
    for options, equal in ((dict(pool_unstrided=True), True), ({}, False)):
        model = in_scope('mmdet', dict(**cfg, **options)).eval()
        model.load_state_dict(stock.state_dict())
        assert torch.equal(model(x)[0], expected) is equal


@pytest.mark.parametrize(
    ('kind', 'slot', 'channels'),
    [
        ('SCSA', 'attn_after_conv2', 104),
        ('SimAM', 'attn_after_conv2', 104),
        ('SE', 'attn_after_conv3', 256),
    ],
)
def test_default_positions(kind, slot, channels):
    with torch.device('meta'):
        model = MODELS.build(dict(type='Res2Net', depth=50, attention=dict(type=kind)))
    assert getattr(model.layer1[0], slot).in_channels == channels
    assert sum(name.endswith(slot) for name, _ in model.named_modules()) == 16


def test_se_res2net_gates_after_the_fusion_unless_told_otherwise():
    with torch.device('meta'):
        default = MODELS.build(dict(type='SERes2Net', depth=50))
        plain = MODELS.build(dict(type='SERes2Net', depth=50, attention=None))
        other = MODELS.build(dict(type='SERes2Net', depth=50, attention=dict(type='ECA')))
    assert type(default.layer4[2].attn_after_conv3) is SE
    assert default.layer4[2].attn_after_conv3.fc1.out_features == 2048 // 16
    assert not [m for m in plain.modules() if isinstance(m, Attention)]
    assert type(other.layer1[0].attn_after_conv3).__name__ == 'ECA'


@pytest.mark.parametrize(
    ('options', 'millions'),
    [
        # The paper's 25.70 M; published checkpoints have 25,699,120 and 25,718,352.
        (dict(depth=50, deep_stem=False, avg_down=False), 25.699120),
        (dict(depth=50), 25.718352),
        (dict(depth=50, scales=8, base_width=14, deep_stem=False, avg_down=False), 25.059816),
        (dict(depth=50, scales=6, base_width=26, deep_stem=False, avg_down=False), 37.051448),
        (dict(depth=50, scales=8, base_width=26, deep_stem=False, avg_down=False), 48.403776),
        (dict(depth=50, scales=2, base_width=48, deep_stem=False, avg_down=False), 25.287304),
        (dict(depth=101, deep_stem=False, avg_down=False), 45.206688),
    ],
)
def test_parameter_counts_of_the_variants(options, millions):
    with torch.device('meta'):
        model = MODELS.build(dict(type='Res2Net', **options))
    count = sum(p.numel() for p in model.parameters()) + 2048 * 1000 + 1000
    assert count / 1e6 == pytest.approx(millions, abs=1e-9)


def small(**options):
    options = dict(base_channels=16, base_width=6, zero_init_residual=False, **options)
    return MODELS.build(dict(type='SERes2Net', depth=50, **options))


@pytest.mark.parametrize('options', [{}, dict(dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1))])
def test_gradient_checkpointing_gives_the_same_loss_and_gradients(options):
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = small(with_cp=with_cp, **options).train()
        loss = model(torch.ones(2, 3, 64, 64).cumsum(3) / 64)[-1].square().mean()
        loss.backward()
        results.append((loss, [p.grad for p in model.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_drop_path_acts_in_training_only():
    model = small(drop_path_rate=0.9, norm_eval=True)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.eval()(x)[0], model(x)[0])
    model.train()
    assert not torch.equal(model(x)[0], model(x)[0])


def test_zero_init_makes_blocks_the_identity():
    model = MODELS.build(dict(type='Res2Net', depth=50, base_channels=16, base_width=6))
    model.init_weights()
    assert not model.layer1[1].norm(3).weight.any()
    x = torch.randn(1, 64, 8, 8)
    assert torch.equal(model.layer1[1](x), x.relu())


@pytest.mark.parametrize(
    'options',
    [
        dict(attention=dict(type='SE')),
        dict(attention=dict(type='CBAM'), deep_stem=False, avg_down=False, frozen_stages=2),
        dict(dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(False, True, False, False)),
    ],
)
def test_deployed_it_has_no_norms_but_its_attention_and_the_same_outputs(randomise, options):
    # Some norms are in train mode: folding is of the statistics all the same.
    model = randomise(small(out_indices=(0, 1, 2, 3), **options)).train()
    x = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        expected = model.eval()(x)
        trainable = {n for n, p in model.named_parameters() if p.requires_grad and 'conv' in n}
        model.train()
        model.switch_to_deploy()
        model.switch_to_deploy()
        for actual, stage in zip(model.eval()(x), expected, strict=True):
            torch.testing.assert_close(actual, stage, rtol=1e-4, atol=1e-4)
    norms = [n for n, m in model.named_modules() if isinstance(m, _BatchNorm)]
    if 'dcn' in options:
        # Those of the deformable convolutions, which hold another kind of weight.
        assert len(norms) == 4 * 3 and all('layer2' in n and 'bns' in n for n in norms)
    else:
        assert all('.attn_' in name for name in norms)
        assert [name for name, _ in model.named_modules() if name.endswith('attn_after_conv3')]
    assert trainable <= {n for n, p in model.named_parameters() if p.requires_grad}
    rebuilt = small(out_indices=(0, 1, 2, 3), deploy=True, **options).eval()
    rebuilt.load_state_dict(model.state_dict(), strict=True)
    with torch.no_grad():
        assert all(map(torch.equal, rebuilt(x), model(x)))


def test_only_batch_norm_folds():
    with pytest.raises(ValueError, match='only BatchNorm can be folded.*gn1 is a GroupNorm'):
        small(norm_cfg=dict(type='GN', num_groups=2), deep_stem=False, deploy=True)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(depth=34), KeyError, r'no depth 34; valid: \[50, 101, 152\]'),
        (dict(depth=50, scales=1), ValueError, 'scales must be an integer of at least 2, got 1'),
        (dict(depth=50, base_width=0), ValueError, 'base_width is too small'),
        (dict(depth=50, style='tf'), ValueError, "'pytorch' or 'caffe', got 'tf'"),
        (
            dict(depth=50, attention=dict(type='SE', position='before_norm2')),
            ValueError,
            'before_norm2.*Bottle2neck.*after_conv1, after_conv2, after_conv3',
        ),
        (dict(depth=50, groups=2), TypeError, 'groups'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='Res2Net', **options))
