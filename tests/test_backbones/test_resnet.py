"""mmattn.ResNet is the toolboxes' ResNet, plus attention."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import Attention
from mmattn.attention.names import attention_names
from mmattn.registry import MODELS

TOOLBOXES = ('mmdet', 'mmseg', 'mmpretrain')
# (type, arguments, toolboxes whose stock class takes them)
VARIANTS = {
    'r18': ('ResNet', dict(depth=18), TOOLBOXES),
    'r50': ('ResNet', dict(depth=50), TOOLBOXES),
    'r50-caffe': ('ResNet', dict(depth=50, style='caffe'), TOOLBOXES),
    'r50-stages': (
        'ResNet',
        dict(depth=50, num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 2), out_indices=(1, 2)),
        TOOLBOXES,
    ),
    'r50-gn': ('ResNet', dict(depth=50, norm_cfg=dict(type='GN', num_groups=4)), TOOLBOXES),
    'v1c': ('ResNetV1c', dict(depth=50), ('mmseg', 'mmpretrain')),
    'v1d': ('ResNetV1d', dict(depth=50), TOOLBOXES),
    'deep-stem': ('ResNet', dict(depth=18, deep_stem=True, avg_down=True), TOOLBOXES),
    'dilated': (
        'ResNet',
        dict(
            depth=50,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            multi_grid=(1, 2, 4),
            contract_dilation=True,
        ),
        ('mmseg',),
    ),
    'x50-mmdet': ('ResNeXt', dict(depth=50, groups=8, base_width=4), ('mmdet', 'mmseg')),
    'x50-mmpretrain': ('ResNeXt', dict(depth=50, groups=8, width_per_group=4), ('mmpretrain',)),
    'dcn': (
        'ResNet',
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
    [(toolbox, name) for name, (_, _, boxes) in VARIANTS.items() for toolbox in boxes],
)
def test_without_attention_it_equals_the_stock_resnet_bit_for_bit(
    in_scope, randomise, toolbox, variant
):
    kind, arguments, _ = VARIANTS[variant]
    if toolbox == 'mmpretrain':
        arguments = {k: v for k, v in arguments.items() if k not in ('dcn', 'stage_with_dcn')}
    stock = randomise(in_scope(toolbox, dict(type=kind, **arguments)))
    ours = in_scope(toolbox, dict(type=f'mmattn.{kind}', **arguments))
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert ours.out_indices == tuple(stock.out_indices) and ours.norm_eval == stock.norm_eval
    if toolbox != 'mmpretrain':
        assert list(ours.state_dict()) == list(stock.state_dict())
    x = torch.randn(2, 3, 48, 64)
    for training in (False, True):
        # The stock classes' train() returns None.
        stock.train(training)
        expected, actual = stock(x), ours.train(training)(x)
        assert len(expected) == len(actual)
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize('toolbox', TOOLBOXES)
def test_same_seed_gives_the_stock_initialisation(in_scope, toolbox):
    models = []
    for prefix in ('', 'mmattn.'):
        model = in_scope(toolbox, dict(type=f'{prefix}ResNet', depth=50))
        torch.manual_seed(0)
        model.init_weights()
        models.append(model.state_dict())
    assert all(torch.equal(value, models[0][key]) for key, value in models[1].items())


@pytest.mark.parametrize('name', attention_names())
def test_stock_keys_survive_and_missing_keys_lie_in_slots(randomise, name):
    torchvision = pytest.importorskip('torchvision')
    stock = randomise(torchvision.models.resnet50(weights=None)).eval()
    model = MODELS.build(
        dict(
            type='ResNet',
            depth=50,
            out_indices=(0, 1, 2, 3),
            attention=dict(type=name, warm_start=True),
        )
    ).eval()
    missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
    assert unexpected == ['fc.weight', 'fc.bias']
    assert all('.attn_' in key for key in missing) and missing
    x = torch.randn(1, 3, 64, 64)
    y = stock.maxpool(stock.relu(stock.bn1(stock.conv1(x))))
    for out, layer in zip(model(x), ('layer1', 'layer2', 'layer3', 'layer4'), strict=True):
        y = getattr(stock, layer)(y)
        assert torch.equal(out, y)


def small(**options):
    return MODELS.build(dict(type='ResNet', depth=18, base_channels=16, **options))


@pytest.mark.parametrize('deep_stem', [False, True])
@pytest.mark.parametrize('freeze_attention', [False, True])
def test_frozen_stages_and_norm_eval_spare_attention(freeze_attention, deep_stem):
    model = small(
        attention=dict(type='CBAM'),
        frozen_stages=2,
        norm_eval=True,
        deep_stem=deep_stem,
        freeze_attention=freeze_attention,
    )
    assert model.train() is model and model.eval() is model
    for _ in range(2):
        model.train()
        for name, module in model.named_modules():
            attention = any(isinstance(m, Attention) for m in _chain(model, name))
            frozen = name.startswith(('stem', 'conv1', 'bn1', 'layer1', 'layer2'))
            for parameter in module.parameters(recurse=False):
                trainable = not frozen or (attention and not freeze_attention)
                assert parameter.requires_grad is trainable, name
            if isinstance(module, _BatchNorm):
                assert module.training is (attention and not freeze_attention), name
    model.eval()
    assert not any(module.training for module in model.modules())


def _chain(model, name):
    parts = name.split('.') if name else []
    return [model.get_submodule('.'.join(parts[:n])) for n in range(len(parts) + 1)]


def test_frozen_weights_do_not_move_and_attention_does():
    model = small(attention=dict(type='SCSA'), frozen_stages=1, zero_init_residual=False)
    model.init_weights()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model(torch.randn(2, 3, 64, 64))[-1].square().mean().backward()
    optimizer.step()
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert not [
        n for n in changed if n.startswith(('conv1', 'bn1')) or ('layer1' in n and 'attn' not in n)
    ]
    assert [n for n in changed if n.startswith('layer1') and 'attn' in n]


@pytest.mark.parametrize('depth', [18, 50])
def test_gradient_checkpointing_gives_the_same_loss_and_gradients(depth):
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                type='ResNet',
                depth=depth,
                base_channels=16,
                with_cp=with_cp,
                attention=dict(type='SCSA'),
                zero_init_residual=False,
            )
        ).train()
        loss = model(torch.ones(2, 3, 64, 64).cumsum(3) / 64)[-1].square().mean()
        loss.backward()
        results.append((loss, [p.grad for p in model.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_drop_path_acts_in_training_only():
    model = small(drop_path_rate=0.9, zero_init_residual=False)
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(model.eval()(x)[0], model(x)[0])
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    assert not torch.equal(model(x)[0], model(x)[0])


def test_every_attention_parameter_has_a_gradient_at_once_and_moves_by_the_third_step():
    for name in ('SE', 'ECA', 'CBAM', 'CA', 'SCSA'):
        torch.manual_seed(0)
        model = MODELS.build(
            dict(type='ResNet', depth=18, attention=dict(type=name, warm_start=True))
        )
        model.init_weights()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        parameters = {n: p for n, p in model.named_parameters() if '.attn_' in n}
        seen = set()
        for step in range(3):
            optimizer.zero_grad()
            out = model(torch.randn(4, 3, 32, 32))[-1]
            (out * torch.randn_like(out)).mean().backward()
            optimizer.step()
            assert all(p.grad is not None for p in parameters.values()), (name, step)
            seen |= {n for n, p in parameters.items() if p.grad.abs().max() > 0}
        assert seen == set(parameters), (name, set(parameters) - seen)


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(depth=51), KeyError, r'no depth 51; valid: \[18, 34, 50, 101, 152\]'),
        (dict(depth=18, out_indices=(4,)), ValueError, r'out_indices .* 0 and 3, got \(4,\)'),
        (dict(depth=18, strides=(1, 2)), ValueError, r'strides .* 4 entries.*\(1, 2\)'),
        (dict(depth=18, num_stages=5), ValueError, 'num_stages must be 1 to 4, got 5'),
        (
            dict(depth=18, dcn=dict(type='DCN'), stage_with_dcn=(True,) * 4),
            ValueError,
            'Bottleneck',
        ),
        (dict(depth=50, style='tf'), ValueError, "'pytorch' or 'caffe', got 'tf'"),
        (dict(depth=50, multi_grid=(1, 2)), ValueError, 'multi_grid must have 3 entries'),
        (dict(depth=50, init_cfg={}, pretrained='x'), ValueError, 'init_cfg and pretrained'),
        (dict(depth=50, attentions=None), TypeError, 'attentions'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='ResNet', **options))


def test_resnext_refuses_two_widths():
    with pytest.raises(ValueError, match='width_per_group=4 and base_width=8'):
        MODELS.build(dict(type='ResNeXt', depth=50, width_per_group=4, base_width=8))


EXACT_COUNTS = {
    # Millions at 1000 classes: ResNet-50, ResNet-101.
    None: (25.557, 44.549),
    'SE': (28.072, 49.292),
    'ECA': (25.557, 44.549),
    'CBAM': (28.090, 49.330),
    'CA': (25.693, 44.798),
    'SCSA': (25.617, 44.679),
    'FCA': (28.072, 49.292),
    'SA': (25.558, None),
    'EMA': (25.570, None),
    'CPCA': (27.395, None),
    'ELA': (25.591, None),
    'SimAM': (25.557, None),
    'SPSE': (28.481, None),
    'RGSE': (28.212, None),
}


@pytest.mark.parametrize('name', EXACT_COUNTS)
def test_parameter_counts_are_the_papers(name):
    classifier = 2048 * 1000 + 1000
    for depth, expected in zip((50, 101), EXACT_COUNTS[name], strict=True):
        if expected is None:
            continue
        with torch.device('meta'):
            attention = name and dict(type=name)
            model = MODELS.build(dict(type='ResNet', depth=depth, attention=attention))
        count = sum(p.numel() for p in model.parameters()) + classifier
        assert round(count / 1e6, 3) == pytest.approx(expected, abs=1e-9), depth


def test_cbam_in_the_form_of_the_scsa_paper_has_its_counts():
    attention = dict(type='CBAM', bias=False, norm=False)
    for depth, expected in ((50, 28.074), (101, 49.296)):
        with torch.device('meta'):
            model = MODELS.build(dict(type='ResNet', depth=depth, attention=attention))
        count = sum(p.numel() for p in model.parameters()) + 2048 * 1000 + 1000
        assert round(count / 1e6, 3) == pytest.approx(expected, abs=1e-9)
