"""The CIFAR backbones: sizes of the papers, places of attention, contract."""

import pytest
import torch
from mmcv.cnn.utils import fuse_conv_bn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import ECA, SE
from mmattn.attention.names import attention_names
from mmattn.registry import MODELS

SMALL = {
    'ResNetCIFAR': dict(depth=20),
    'DenseNetCIFAR': dict(depth=22),
    'Res2NetCIFAR': dict(depth=20),
    'SERes2NetCIFAR': dict(depth=20),
}
# The last stage's channels.
WIDTHS = dict(ResNetCIFAR=64, DenseNetCIFAR=69, Res2NetCIFAR=208, SERes2NetCIFAR=208)


def build(kind, **options):
    return MODELS.build(dict(type=kind, **{**SMALL.get(kind, {}), **options}))


def parameters(model, classes=10):
    """Of the classifier: the backbone's and those of a linear layer on its mean."""
    return sum(p.numel() for p in model.parameters()) + (model.feat_dim + 1) * classes


@pytest.mark.parametrize(
    ('cfg', 'millions'),
    [
        # Facts of the SE-Res2Net report, to 0.001 M.
        (dict(type='Res2NetCIFAR'), 0.636),
        (dict(type='SERes2NetCIFAR'), 0.636 + 0.0209),
        (dict(type='ResNetCIFAR', depth=56), 0.856),
        (dict(type='ResNetCIFAR', depth=110, attention=dict(type='SE')), 1.743),
        (dict(type='ResNetCIFAR', depth=20), 0.272),
        (dict(type='DenseNetCIFAR'), 0.769),
    ],
)
def test_parameter_counts(cfg, millions):
    with torch.device('meta'):
        model = MODELS.build(cfg)
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=1e-3)


@pytest.mark.parametrize(
    ('cfg', 'millions'),
    [
        (dict(type='Res2NetCIFAR'), 99.6),
        (dict(type='ResNetCIFAR', depth=56), 125.7),
        (dict(type='DenseNetCIFAR'), 287.9),
    ],
)
def test_multiply_adds(cfg, millions):
    """Of convolutions and the classifier, which is what the tables count."""
    model = MODELS.build(cfg).eval()
    count = model.feat_dim * 10

    def add(module, inputs, output):
        nonlocal count
        count += module.weight.numel() * output[0, 0].numel()

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize('kind', SMALL)
def test_outputs_of_each_stage(kind):
    model = build(kind, out_indices=(0, 1, 2)).eval()
    for size in (32, 45):
        outs = model(torch.randn(1, 3, size, size))
        scale = [size // 2**i for i in range(3)] if size == 32 else None
        if scale:
            assert [out.shape[-1] for out in outs] == scale
        assert outs[-1].shape[1] == model.feat_dim == WIDTHS[kind]
    # As a classifier's backbone: the last stage alone.
    assert len(build(kind)(torch.randn(2, 3, 32, 32))) == 1


def test_the_block_is_the_reports():
    """y1 = x1, y_i = ReLU(BN(K_i(x_i + y_{i-1}))), fused and added to the input."""
    block = build('Res2NetCIFAR').eval().layer1[1]
    x = torch.randn(1, 52, 8, 8)
    hidden = block.norm(1)(block.conv1(x)).relu()
    x1, x2, x3, x4 = hidden.split(13, 1)
    y2 = block.bns[0](block.convs[0](x2 + x1)).relu()
    y3 = block.bns[1](block.convs[1](x3 + y2)).relu()
    y4 = block.bns[2](block.convs[2](x4 + y3)).relu()
    fused = block.norm(3)(block.conv3(torch.cat((x1, y2, y3, y4), 1)))
    torch.testing.assert_close(block(x), (x + fused).relu())


def test_a_dense_layer_appends_what_it_computes():
    layer = build('DenseNetCIFAR').eval().layer1[0]
    x = torch.randn(1, 24, 8, 8)
    hidden = layer.bn2(layer.conv1(layer.bn1(x).relu())).relu()
    torch.testing.assert_close(layer(x), torch.cat((x, layer.conv2(hidden)), 1))


ABLATIONS = {
    # Row of the report's table 4 -> attention, places in a block, parameters over Res2Net-29.
    'subset s only': (dict(type='SE', position='after_subset4'), ['after_subset4'], 1_170),
    'subsets 1, 2': (
        [dict(type='SE', position=f'after_subset{i}') for i in (1, 2)],
        ['after_subset1', 'after_subset2'],
        2_340,
    ),
    'full': (dict(type='SE'), ['after_conv3'], 20_904),
}


@pytest.mark.parametrize('row', ABLATIONS)
def test_ablations_of_the_report(row):
    attention, positions, extra = ABLATIONS[row]
    torch.manual_seed(0)
    model = MODELS.build(dict(type='SERes2NetCIFAR', attention=attention, zero_init_residual=False))
    slots = {name: m for name, m in model.layer1[0].named_children() if name[:5] == 'attn_'}
    assert list(slots) == [f'attn_{position}' for position in positions]
    assert all(type(module) is SE for module in slots.values())
    plain = MODELS.build(dict(type='Res2NetCIFAR', zero_init_residual=False))
    assert parameters(model) - parameters(plain) == extra
    plain.load_state_dict(model.state_dict(), strict=False)
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(model.eval()(x)[0], plain.eval()(x)[0])


def test_a_gated_subset_is_fused_and_handed_on():
    model = MODELS.build(
        dict(type='Res2NetCIFAR', depth=20, attention=dict(type='SE', position='after_subset1'))
    ).eval()
    block = model.layer1[1]
    seen = {}
    block.attn_after_subset1.register_forward_hook(lambda *args: seen.update(gated=args[2]))
    block.convs[0].register_forward_pre_hook(lambda _, args: seen.update(next=args[0]))
    block.conv3.register_forward_pre_hook(lambda _, args: seen.update(fused=args[0]))
    x = torch.randn(1, 52, 8, 8)
    block(x)
    second = block.norm(1)(block.conv1(x)).relu().split(13, 1)[1]
    torch.testing.assert_close(seen['next'], second + seen['gated'])
    assert torch.equal(seen['fused'][:, :13], seen['gated'])


@pytest.mark.parametrize('name', attention_names())
@pytest.mark.parametrize('kind', SMALL)
def test_every_attention_fits_or_says_which_channels_would(kind, name):
    torch.manual_seed(0)
    try:
        model = build(kind, attention=dict(type=name, warm_start=True))
    except ValueError as error:
        # Those with groups: 12, 16 or 52 channels have no 64, 32 or 16, or no 8.
        assert name in ('CoT', 'ELA', 'EMA', 'FCA', 'PSA', 'SA', 'SGE')
        assert 'nearest valid' in str(error)
        return
    plain = build(kind, attention=None)
    missing, unexpected = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing and unexpected and all('.attn_' in key for key in unexpected)
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(model.eval()(x)[0], plain.eval()(x)[0])


def test_stages_positions_and_plugins():
    model = build(
        'DenseNetCIFAR',
        attention=[
            dict(type='SE', stages=(True, False, False), position='after_conv1'),
            dict(type='SimAM', stages=(False, False, True)),
        ],
        plugins=[dict(cfg=dict(type='mmattn.ECA'), position='after_conv2')],
    )
    assert model.layer1[0].attn_after_conv1.in_channels == 48
    assert model.layer3[2].attn_before_norm2.in_channels == 48
    assert not model.layer2[0].slots.get('after_conv1')
    assert type(model.layer2[1].attn) is ECA and model.layer2[1].attn.in_channels == 12
    assert build('ResNetCIFAR', attention=dict(type='SE')).layer2[0].attn_after_conv2


@pytest.mark.parametrize('freeze_attention', [False, True])
@pytest.mark.parametrize('kind', SMALL)
def test_frozen_stages_and_norm_eval_spare_attention(kind, freeze_attention):
    model = build(
        kind,
        attention=dict(type='CBAM'),
        frozen_stages=1,
        norm_eval=True,
        freeze_attention=freeze_attention,
    )
    assert model.train() is model
    frozen = ('conv1', 'bn1', 'layer1', 'transition1')
    for name, module in model.named_modules():
        attention = '.attn_' in name and not freeze_attention
        for parameter in module.parameters(recurse=False):
            assert parameter.requires_grad is (attention or not name.startswith(frozen)), name
        if isinstance(module, _BatchNorm):
            assert module.training is attention, name
    assert model.eval() is model and not any(m.training for m in model.modules())


@pytest.mark.parametrize('kind', SMALL)
def test_gradient_checkpointing_gives_the_same_loss_and_gradients(kind):
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build(kind, with_cp=with_cp, attention=dict(type='SE')).train()
        loss = model(torch.ones(2, 3, 16, 16).cumsum(3) / 16)[-1].square().mean()
        loss.backward()
        results.append((loss, [p.grad for p in model.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize('kind', SMALL)
def test_mmcvs_fusing_keeps_the_outputs(randomise, kind):
    model = randomise(build(kind, attention=dict(type='SE'))).eval()
    x = torch.randn(1, 3, 32, 32)
    expected = model(x)[0]
    norms = sum(isinstance(m, _BatchNorm) for m in model.modules())
    fused = fuse_conv_bn(model)
    assert sum(isinstance(m, _BatchNorm) for m in fused.modules()) < norms
    torch.testing.assert_close(fused(x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', SMALL)
def test_channels_last_gives_the_same_outputs(kind):
    model = build(kind, attention=dict(type='SE')).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = model(x)[0]
    model.to(memory_format=torch.channels_last)
    actual = model(x)[0]
    assert actual.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(type='ResNetCIFAR', depth=21), KeyError, r'no depth 21; valid: \[20, 26'),
        (dict(type='ResNetCIFAR', depth=20, num_stages=4), ValueError, '1 to 3, got 4'),
        (dict(type='ResNetCIFAR', depth=20, out_indices=(3,)), ValueError, 'between 0 and 2'),
        (
            dict(type='ResNetCIFAR', depth=20, frozen_stages=4),
            ValueError,
            'frozen_stages .*3, got 4',
        ),
        (dict(type='ResNetCIFAR', depth=20, deep_stem=True), ValueError, 'deep_stem=True'),
        (dict(type='Res2NetCIFAR', depth=30), KeyError, 'no depth 30; valid: .*29'),
        (
            dict(type='Res2NetCIFAR', attention=dict(type='SE', position='after_subset5')),
            ValueError,
            'after_subset5.*after_subset1, after_subset2',
        ),
        (dict(type='DenseNetCIFAR', depth=99), ValueError, '6n . 4.*got 99'),
        (dict(type='DenseNetCIFAR', growth_rate=0), ValueError, 'growth_rate .* got 0'),
        (dict(type='DenseNetCIFAR', compression=2.0), ValueError, 'compression .* got 2.0'),
        (dict(type='DenseNetCIFAR', out_indices=(3,)), ValueError, 'out_indices .*3'),
        (dict(type='DenseNetCIFAR', frozen_stages=4), ValueError, 'frozen_stages .*4'),
        (dict(type='DenseNetCIFAR', dropout=0.1), TypeError, 'dropout'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(options)
