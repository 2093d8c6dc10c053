"""Which blocks of a stage get attention, in every backbone."""

import pytest
import torch
from mmengine.config import Config

from mmattn.attention.entries import chosen_blocks
from mmattn.backbones.loading import blocks_by_stage
from mmattn.backbones.slots import AttentionBlock
from mmattn.registry import MODELS

ARCH = dict(num_blocks=[1, 3, 2, 1], width_factor=[0.25] * 4, group_layer_map=None, se_cfg=None)
SMALL = {
    'DenseNetCIFAR': dict(depth=22, growth_rate=4),
    'MobileNetV2': dict(widen_factor=0.25),
    'RepVGG': dict(arch=ARCH),
    'Res2Net': dict(depth=50, base_channels=8, base_width=4),
    'Res2NetCIFAR': dict(depth=29),
    'ResNeXt': dict(depth=50, groups=1, base_channels=8),
    'ResNet': dict(depth=50, base_channels=8),
    'ResNetCIFAR': dict(depth=26),
    'ResNetV1c': dict(depth=34, base_channels=8),
    'ResNetV1d': dict(depth=50, base_channels=8),
    'SERes2Net': dict(depth=50, base_channels=8, base_width=4),
    'SERes2NetCIFAR': dict(depth=29),
    'SwinTransformer': dict(embed_dims=8, depths=(1, 2, 3, 1), num_heads=(1, 2, 2, 4)),
}


def build(name, **options):
    return MODELS.build(dict(type=name, **SMALL[name], **options))


def blocks_of(model):
    """Of each stage, the names of its blocks."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, AttentionBlock) and name != 'stem'
    ]
    return blocks_by_stage(names, r'(\D+(\d+)\D+(\d+))$')


def chosen(model):
    """Of each stage, the numbers of the blocks with attention."""
    return [
        {n for n, name in enumerate(stage) if any(model.get_submodule(name).slots.values())}
        for stage in blocks_of(model)
    ]


def test_every_backbone_is_here():
    assert sorted(SMALL) == MODELS.names_in('mmattn.backbones')


@pytest.mark.parametrize('name', SMALL)
def test_blocks_in_every_backbone(name):
    stock = build(name, attention=None)
    counts = [len(stage) for stage in blocks_of(stock)]
    assert max(counts) > 1 and chosen(stock) == [set()] * len(counts)
    flags = [False, *[True] * (len(counts) - 1)]
    for blocks, numbers in {
        None: lambda count: {*range(count)},
        'first': lambda count: {0},
        'last': lambda count: {count - 1},
        'every 2nd': lambda count: {*range(1, count, 2)},
        0: lambda count: {0},
        (0, -1): lambda count: {0, count - 1},
    }.items():
        expected = [numbers(count) for count in counts]
        model = build(name, attention=dict(type='SE', blocks=blocks, reduction=4))
        assert chosen(model) == expected, blocks
        missing, unexpected = model.load_state_dict(stock.state_dict(), strict=False)
        assert not unexpected and all('.attn_' in key for key in missing)
    entry = dict(type='SE', reduction=4, blocks=['first', *['last'] * (len(counts) - 1)])
    assert chosen(build(name, attention=entry)) == [{0}, *({count - 1} for count in counts[1:])]
    assert chosen(build(name, attention=dict(entry, stages=flags)))[0] == set()
    with pytest.raises(ValueError, match=f'no block {max(counts)} in stages of {counts[0]}, '):
        build(name, attention=dict(type='SE', blocks=max(counts)))


def test_two_attentions_share_the_blocks_of_a_network():
    model = build(
        'ResNet',
        attention=[
            dict(type='SE', blocks='first'),
            dict(type='ECA', blocks=[[1], [1, 2], 'every 3rd', []]),
        ],
        plugins=[dict(cfg=dict(type='mmattn.SSE'), position='after_conv2', blocks='last')],
    )
    kinds = [
        [
            ''.join(
                type(m).__name__
                for m in model.get_submodule(name).children()
                if m.__module__[:7] == 'mmattn.'
            )
            for name in stage
        ]
        for stage in blocks_of(model)
    ]
    assert kinds[0] == ['SE', 'ECA', 'SSE']
    assert kinds[1] == ['SE', 'ECA', 'ECA', 'SSE']
    assert kinds[2] == ['SE', '', 'ECA', '', '', 'ECASSE']
    assert kinds[3] == ['SE', '', 'SSE']
    assert model.eval()(torch.zeros(1, 3, 32, 32))[-1].shape == (1, 256, 1, 1)


def test_blocks_come_from_a_command_line():
    cfg = Config(dict(model=dict(type='ResNet', **SMALL['ResNet'], attention=dict(type='SE'))))
    cfg.merge_from_dict({'model.attention.blocks': 'every 2nd'})
    assert chosen(MODELS.build(cfg.model)) == [{1}, {1, 3}, {1, 3, 5}, {1}]


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        (dict(blocks='evry 2nd'), "blocks must be 'first', 'last', 'every 2nd', .* 'evry 2nd'"),
        (dict(blocks='every 0th'), "blocks must be .* got 'every 0th'"),
        (dict(blocks=True), 'blocks must be .* got True'),
        (dict(blocks=1.5), r'blocks must be .* got 1\.5'),
        (dict(blocks=6), 'no block 6 in stages of 3, 4, 6, 3 blocks; valid: -6 to 5'),
        (dict(blocks=[0, -7]), 'no block -7 in stages'),
        (dict(blocks=[[0], [1]]), r'a list of 4, one per stage, got \[\[0\], \[1\]\]'),
        (dict(blocks=[[3], 0, 0, 0]), 'no block 3 in stages of 3 blocks; valid: -3 to 2'),
        (dict(blocks=[]), r'blocks=\[\] .* none: the stages have 3, 4, 6, 3 blocks'),
        (dict(blocks=5, stages=(True, True, False, True)), 'blocks=5 of stages=.* are none'),
        (dict(blocks='every 9th'), "blocks='every 9th' .* none"),
    ],
)
def test_bad_blocks_say_what_is_valid(place, message):
    with pytest.raises(ValueError, match=message):
        build('ResNet', attention=dict(type='SE', **place))


def test_shorter_stages_pass_over_numbers_that_others_have():
    assert [chosen_blocks([0, 4], count) for count in (3, 5)] == [{0}, {0, 4}]
