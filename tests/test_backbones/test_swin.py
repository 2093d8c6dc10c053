"""mmattn.SwinTransformer is the toolboxes' Swin Transformer, plus attention."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmattn.backbones.swin.checkpoints import unfold_order
from mmattn.registry import MODELS

DIMS = dict(embed_dims=16, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 8))
TINY = dict(type='SwinTransformer', window_size=3, drop_path_rate=0.0)
ALL = (0, 1, 2, 3)


def swin(**options):
    return MODELS.build({**TINY, **DIMS, 'out_indices': ALL, **options})


def fill(model):
    """Weights that let every part matter."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model


# What an mmdet or mmseg config may pass, with values unlike the defaults.
DENSE = dict(
    **DIMS,
    pretrain_img_size=32,
    patch_size=4,
    mlp_ratio=2,
    strides=(4, 2, 2, 2),
    out_indices=(1, 3),
    qkv_bias=False,
    qk_scale=0.3,
    patch_norm=False,
    drop_rate=0.1,
    attn_drop_rate=0.1,
    act_cfg=dict(type='ReLU'),
    norm_cfg=dict(type='LN', eps=1e-3),
)


@pytest.mark.parametrize(
    ('toolbox', 'options'),
    [
        ('mmdet', DIMS),
        ('mmdet', {**DENSE, 'convert_weights': True}),
        ('mmseg', DENSE),
        ('mmpretrain', dict(arch=DIMS, out_indices=ALL)),
        ('mmpretrain', dict(arch=DIMS, out_after_downsample=True, norm_cfg=None)),
        (
            'mmpretrain',
            dict(
                arch=DIMS,
                use_abs_pos_embed=True,
                img_size=48,
                pad_small_map=True,
                stage_cfgs=dict(
                    block_cfgs=dict(window_size=4, ffn_cfgs=dict(act_cfg=dict(type='ReLU'))),
                    downsample_cfg=dict(kernel_size=3, padding=1, stride=2),
                ),
                patch_cfg=dict(norm_cfg=None),
            ),
        ),
        (
            'mmpretrain',
            dict(arch=DIMS, stage_cfgs=[dict(block_cfgs=[dict(ffn_ratio=2)] * 2)] + [{}] * 3),
        ),
    ],
)
def test_without_attention_it_equals_the_stock_network_bit_for_bit(in_scope, toolbox, options):
    stock = fill(in_scope(toolbox, {**TINY, **options}))
    ours = in_scope(toolbox, {**TINY, **options, 'type': 'mmattn.SwinTransformer'})
    ours.load_state_dict(stock.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert ours.out_indices == tuple(stock.out_indices)
    # At 96 pixels mmpretrain's last map is exactly a window.
    for size in ((96, 96), (97, 131)):
        x = torch.randn(2, 3, *size)
        for training in (False, True):
            # The stock class's train() returns None.
            stock.train(training)
            ours.train(training)
            outs = []
            for model in (stock, ours):
                torch.manual_seed(0)
                outs.append(model(x))
            assert len(outs[0]) == len(outs[1])
            assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))


def test_drop_path_drops_the_same_samples_as_in_the_stock_network(in_scope):
    options = {**TINY, **DIMS, 'drop_path_rate': 0.5}
    models = [
        in_scope('mmdet', options),
        in_scope('mmdet', {**options, 'type': 'mmattn.' + options['type']}),
    ]
    models[1].load_state_dict(fill(models[0]).state_dict())
    outs = []
    for model in models:
        model.train()
        torch.manual_seed(0)
        outs.append(model(torch.ones(4, 3, 64, 64).cumsum(3) / 64))
    assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))


@pytest.mark.parametrize('pad_small_map', [False, True])
@pytest.mark.parametrize('size', [(1, 1), (5, 70), (33, 47)])
def test_any_size_works(size, pad_small_map):
    model = fill(swin(attention=dict(type='SCSA'), pad_small_map=pad_small_map)).train()
    outs = model(torch.randn(2, 3, *size))
    for level, out in enumerate(outs):
        stride = 4 * 2**level
        assert out.shape == (2, 16 * 2**level, *(-(-side // stride) for side in size))
    sum(out.sum() for out in outs).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ('arch', 'kind', 'millions'),
    [('tiny', None, 28.29), ('tiny', 'SCSA', 28.36), ('base', None, 87.77)],
)
def test_parameter_counts_are_the_papers(arch, kind, millions):
    model = MODELS.build(
        dict(type='SwinTransformer', arch=arch, attention=kind and dict(type=kind))
    )
    channels = model.num_features[-1]
    count = sum(p.numel() for p in model.parameters()) + channels * 1000 + 1000
    assert round(count / 1e6, 2) == millions


def test_attention_sees_the_map_after_window_attention():
    model = fill(swin(attention=dict(type='CA'))).eval()
    block = model.stages[1].blocks[0]
    x = torch.randn(2, 5 * 7, 32)
    tokens = block.attn(block.norm1(x), (5, 7))
    image = tokens.reshape(2, 5, 7, 32).permute(0, 3, 1, 2)
    out = x + block.attn_after_attn(image).permute(0, 2, 3, 1).reshape(2, 35, 32)
    expected = block.ffn(block.norm2(out), identity=out)
    torch.testing.assert_close(block(x, (5, 7)), expected)


@pytest.mark.parametrize(('toolbox', 'stages'), [('mmpretrain', 2), ('mmdet', 1), ('mmseg', 1)])
def test_frozen_stages_count_as_in_each_toolbox(in_scope, toolbox, stages):
    options = {**TINY, 'frozen_stages': 1, 'use_abs_pos_embed': True, 'out_indices': ALL}
    options |= dict(arch=DIMS, img_size=32) if toolbox == 'mmpretrain' else DIMS
    stock = in_scope(toolbox, options)
    ours = in_scope(toolbox, {**options, 'type': 'mmattn.SwinTransformer'})
    stock.train()
    frozen = {name for name, p in stock.named_parameters() if not p.requires_grad}
    # mmpretrain forgets the position embedding.
    frozen.add('absolute_pos_embed')
    assert {name for name, p in ours.train().named_parameters() if not p.requires_grad} == frozen
    assert [s.training for s in ours.stages] == [index >= stages for index in range(4)]


def microsoft(state):
    """A checkpoint as microsoft/Swin-Transformer writes it, from mmpretrain's names."""
    renamed = {}
    for name, value in state.items():
        name = name.replace('stages.', 'layers.').replace('.w_msa.', '.')
        name = name.replace('ffn.layers.0.0', 'mlp.fc1').replace('ffn.layers.1', 'mlp.fc2')
        name = name.replace('projection', 'proj').replace('norm3.', 'norm.')
        if 'downsample' in name:
            # Row by row with the channels outermost -> column by column, innermost.
            value = value.unflatten(-1, (-1, 2, 2)).movedim(-3, -1).transpose(-3, -2).flatten(-3)
        renamed[name] = value
    renamed['layers.0.blocks.1.attn_mask'] = torch.zeros(4, 9, 9)
    return dict(model=renamed, epoch=300)


def test_microsofts_patch_merging_is_reordered():
    x = torch.randn(2, 6, 8, 5)
    neighbours = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
    weight = torch.randn(3, 20)
    expected = F.linear(torch.cat(neighbours, -1), weight).flatten(1, 2)
    unfolded = F.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    torch.testing.assert_close(F.linear(unfolded, unfold_order(weight)), expected)


def test_microsofts_checkpoints_load(tmp_path, in_scope):
    source = fill(swin(out_indices=(3,))).eval()
    path = tmp_path / 'swin.pth'
    torch.save(microsoft(source.state_dict()), path)
    options = {**TINY, **DIMS, 'type': 'mmattn.SwinTransformer', 'attention': dict(type='SE')}
    options |= dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    model = in_scope('mmdet', {**options, 'convert_weights': True})
    model.init_weights()
    state = model.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(state[name], value), name
    with pytest.raises(ValueError, match="does not fit SwinTransformer.*'layers.0"):
        in_scope('mmdet', {**options, 'convert_weights': False}).init_weights()


def test_a_whole_detectors_checkpoint_loads_and_heads_are_left_out():
    source = fill(swin())
    state = {f'backbone.{name}': value for name, value in source.state_dict().items()}
    state['neck.weight'] = torch.zeros(1)
    model = swin(attention=dict(type='SE'))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == ['neck.weight'] and all('.attn_' in name for name in missing)


def test_another_window_and_image_size_are_interpolated():
    options = dict(use_abs_pos_embed=True)
    source = fill(swin(img_size=32, window_size=4, **options))
    model = swin(img_size=64, **options)
    missing, unexpected = model.load_state_dict(source.state_dict(), strict=False)
    assert not unexpected and all(name.endswith('position_index') for name in missing)
    name = 'stages.1.blocks.0.attn.w_msa.relative_position_bias_table'
    given, table = source.state_dict()[name], model.state_dict()[name]
    assert given.shape == (49, 2) and table.shape == (25, 2)
    # The middle of the table stays the middle.
    torch.testing.assert_close(table[12], given[24], rtol=0, atol=1e-6)
    assert model.absolute_pos_embed.shape == (1, 256, 16)


def test_mmdets_default_initialisation_is_kept(in_scope):
    model = in_scope('mmdet', {**TINY, **DIMS, 'type': 'mmattn.SwinTransformer'})
    torch.manual_seed(0)
    model.init_weights()
    linear = model.stages[3].blocks[0].ffn.layers[1]
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not linear.bias.any()


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(arch='huge'), KeyError, 'no arch .*huge.*valid: t, tiny'),
        (dict(arch='tiny', depths=(2, 2, 2, 2)), ValueError, 'arch=.*depths name the same'),
        (dict(arch=dict(depths=(2, 2))), ValueError, 'arch must have embed_dims'),
        (dict(depths=(2, 2)), ValueError, r'one entry per stage, got \(2, 2\)'),
        (
            dict(num_heads=(3, 5, 6, 12)),
            ValueError,
            r'5 does not divide the 192 channels of stage 1',
        ),
        (dict(strides=(2, 2, 2, 2)), ValueError, r'patch_size=4, got \(2, 2, 2, 2\)'),
        (dict(stage_cfgs=[{}]), ValueError, 'stage_cfgs must have 4 entries, got 1'),
        (dict(img_size=224, pretrain_img_size=384), ValueError, 'img_size=224.*=384'),
        (dict(out_indices=(4,)), ValueError, r'between 0 and 3, got \(4,\)'),
        (dict(frozen_stages=4), ValueError, 'frozen_stages must be between -1 and 3, got 4'),
        (dict(init_cfg={}, pretrained='x'), ValueError, 'init_cfg and pretrained'),
        (
            dict(attention=dict(type='SE', position='inner')),
            ValueError,
            'SwinBlock; valid: after_attn',
        ),
        (dict(window=7), TypeError, 'window'),
    ],
)
def test_bad_arguments_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MODELS.build(dict(type='SwinTransformer', **options))
