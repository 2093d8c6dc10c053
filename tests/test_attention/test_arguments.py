"""Every argument of every attention has an effect, and a bad one is named."""

import inspect

import pytest
import torch

from mmattn.attention import (
    A2,
    BAM,
    CA,
    CAA,
    CBAM,
    ECA,
    ELA,
    EMA,
    FCA,
    GAM,
    GC,
    GCT,
    GE,
    LCT,
    LSK,
    LSKA,
    MLCA,
    PAM,
    PCSA,
    PSA,
    RGSE,
    SA,
    SCSA,
    SCSE,
    SE,
    SGE,
    SK,
    SMSA,
    SPSE,
    CoT,
    CrissCross,
    DANet,
    MixedPooling,
    NonLocal,
    SequentialPolarized,
    SimAM,
    Triplet,
)
from mmattn.attention.names import attention_names, find_attention

SMSA_CHANGES = [
    dict(group_kernel_sizes=(3, 7)),
    dict(group_kernel_sizes=(5,)),
    dict(gate_layer='softmax'),
    dict(norm='BN'),
    dict(norm='LN'),
    dict(norm='none'),
    dict(norm_first=True),
    dict(shared=False),
    dict(norm='BN', norm_cfg=dict(type='BN', eps=1.0)),
]
PCSA_CHANGES = [
    dict(head_num=4),
    dict(window_size=3),
    dict(window_size=-1),
    dict(qkv_bias=True),
    dict(down_sample_mode='max_pool'),
    dict(down_sample_mode='recombination'),
    dict(attn_drop_ratio=0.5),
    dict(gate_layer='softmax'),
    dict(head_num=4, channel_shuffle=True),
    dict(scale='positions'),
]
NORM_CFG = dict(norm_cfg=dict(type='BN', eps=1.0))
# In a change of several arguments the last one is tried.
CHANGES = {
    'CA': [dict(reduction=4), NORM_CFG],
    'CBAM': [dict(reduction=4), dict(kernel_size=3), dict(bias=False), dict(norm=False), NORM_CFG],
    'CPCA': [dict(reduction=4)],
    'CSE': [dict(reduction=4)],
    'ECA': [dict(kernel_size=7), dict(gamma=1), dict(b=5)],
    'ELA': [dict(kernel_size=3), dict(num_groups=4), dict(num_groups='auto', kernel_size=5)],
    'EMA': [dict(factor=8), dict(factor=16)],
    'FCA': [
        dict(reduction=4),
        dict(dct_size=14),
        *(dict(freq_sel=f'{kind}{n}') for kind in ('low', 'bot') for n in (1, 2, 4, 8, 16, 32)),
        *(dict(freq_sel=f'top{n}') for n in (1, 2, 4, 8, 32)),
    ],
    'PCSA': PCSA_CHANGES,
    'RGSE': [dict(reduction=4), dict(grid=2), dict(grid=4), dict(reduction=4, grid=2, **NORM_CFG)],
    'SA': [dict(groups=8), dict(groups='auto')],
    'SCSA': [*SMSA_CHANGES, *PCSA_CHANGES, dict(pcsa_first=True)],
    'SCSE': [dict(reduction=4), dict(join='add')],
    'SE': [dict(reduction=4), dict(bias=True)],
    'SMSA': SMSA_CHANGES,
    'SPSE': [dict(reduction=4), NORM_CFG],
    'SSE': [],
    'SimAM': [dict(e_lambda=0.5)],
    'A2': [dict(c_m=8), dict(c_n=8), dict(residual=False)],
    'BAM': [
        dict(reduction=4),
        dict(num_layers=2),
        dict(dilation_conv_num=1),
        dict(dilation_val=2),
        NORM_CFG,
    ],
    'CAM': [],
    'CoT': [dict(kernel_size=5), NORM_CFG],
    'CrissCross': [dict(recurrence=2)],
    'DANet': [dict(dropout_ratio=0.5), NORM_CFG],
    'ESE': [],
    'GC': [dict(ratio=1 / 4), dict(pooling_type='avg'), dict(fusion_types=('channel_mul',))],
    'GCT': [dict(epsilon=1.0), dict(mode='l1'), dict(mode='l1', after_relu=True)],
    'GE': [
        dict(extra_params=True),
        *(dict(extent=extent) for extent in (2, 4, 8)),
        *(dict(extra_params=True, extent=extent) for extent in (2, 4, 8)),
        dict(use_mlp=False),
        dict(rd_ratio=1 / 4),
        dict(extra_params=True, map_size=14),
        dict(extra_params=True, **NORM_CFG),
    ],
    'NonLocal': [
        dict(reduction=4),
        dict(use_scale=False),
        *(dict(mode=mode) for mode in ('gaussian', 'dot_product', 'concatenation')),
        dict(sub_sample=True),
        dict(norm=True),
        dict(norm=True, **NORM_CFG),
    ],
    'PAM': [],
    'ParNet': [NORM_CFG],
    'ParallelPolarized': [dict(form='paper')],
    'SGE': [dict(groups=8)],
    'SequentialPolarized': [dict(form='paper')],
    'Triplet': [dict(no_spatial=True), dict(kernel_size=3), NORM_CFG],
    'CAA': [
        dict(h_kernel_size=7),
        dict(v_kernel_size=7),
        dict(norm=False),
        dict(act=False),
        NORM_CFG,
    ],
    'External': [NORM_CFG],
    'GAM': [dict(reduction=8), NORM_CFG],
    'LCT': [dict(groups=8), dict(groups=8, eps=1.0)],
    'LKA': [dict(proj=True)],
    'LSK': [dict(proj=True)],
    'LSKA': [dict(kernel_size=35), dict(proj=True)],
    'MCA': [dict(no_spatial=True)],
    'MLCA': [dict(local_size=3), dict(gamma=1), dict(b=5), dict(local_weight=0.25)],
    'MixedPooling': [dict(pool_size=(6, 4)), NORM_CFG],
    'NAM': [NORM_CFG],
    'PSA': [
        dict(conv_kernels=(1, 3, 5, 7)),
        dict(conv_groups=(1, 2, 4, 8)),
        dict(conv_groups=(1, 2, 4, 8), conv_kernels=(3, 5, 7, 7)),
    ],
    'SK': [
        dict(kernel_size=(3, 7)),
        dict(rd_ratio=1 / 4),
        dict(rd_divisor=4),
        dict(keep_3x3=False),
        dict(split_input=False),
        NORM_CFG,
    ],
    'SRM': [NORM_CFG],
    'StripPooling': [NORM_CFG],
}
# SA's default of 64 groups needs 128 channels.
BASE = {'SA': dict(groups=16)}


def output(name, options):
    torch.manual_seed(0)
    module = find_attention(name)(64, **{**BASE.get(name, {}), **options})
    torch.manual_seed(1)
    for key, parameter in sorted(module.named_parameters()):
        # By name, so that a module with fewer parameters has the same ones.
        torch.manual_seed(sum(key.encode()))
        torch.nn.init.normal_(parameter)
    torch.manual_seed(2)
    return module(torch.randn(2, 64, 14, 14))


def test_no_argument_is_left_out():
    for name in attention_names():
        parameters = set(inspect.signature(find_attention(name)).parameters)
        tried = {key for change in CHANGES[name] for key in change}
        # The limits of test_positions.py raise or do nothing.
        assert parameters - {'in_channels', 'warm_start', 'max_positions'} == tried, name


@pytest.mark.parametrize(
    ('name', 'change'), [(name, change) for name in CHANGES for change in CHANGES[name]], ids=str
)
def test_every_argument_changes_the_output(name, change):
    before, after = output(name, dict(list(change.items())[:-1])), output(name, change)
    assert after.shape == before.shape and after.isfinite().all()
    assert not torch.allclose(before, after)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: SCSA(66), 'in_channels=66 .* 4 groups.*nearest valid: 64 or 68'),
        (lambda: SCSA(2), 'in_channels=2 .* 4 groups.*nearest valid: 4'),
        (lambda: SMSA(64, group_kernel_sizes=(3, 4)), 'group_kernel_sizes .* odd .* 4'),
        (lambda: SMSA(64, group_kernel_sizes=()), 'at least one kernel size'),
        (lambda: SMSA(64, norm='IN'), 'norm must be one of GN, BN, LN, none, got .IN.'),
        (lambda: SCSA(64, gate_layer='tanh'), 'gate_layer must be one of sigmoid, softmax'),
        (lambda: SCSA(64, down_sample_mode='mean'), 'avg_pool, max_pool, recombination'),
        (lambda: PCSA(64, head_num=5), 'head_num=5 does not divide in_channels=64'),
        (lambda: PCSA(64, window_size=0), 'window_size .* got 0'),
        (lambda: PCSA(64, attn_drop_ratio=1), 'attn_drop_ratio .* got 1'),
        (lambda: PCSA(64, channel_shuffle=True), 'channel_shuffle=True needs head_num above 1'),
        (lambda: PCSA(64, scale='windows'), 'scale must be one of channels, positions'),
        (
            lambda: PCSA(64, window_size=-1, down_sample_mode='recombination'),
            'recombination.* needs a positive',
        ),
        (lambda: SE(64, reduction=0), 'reduction .* got 0'),
        (lambda: ECA(64, kernel_size=4), 'kernel_size .* odd .* 4'),
        (lambda: ECA(64, gamma=0), 'gamma must not be 0'),
        (lambda: CBAM(64, kernel_size=6), 'kernel_size .* odd .* 6'),
        (lambda: FCA(64, freq_sel='mid16'), 'topN, lowN or botN with N one of .* got .mid16.'),
        (lambda: FCA(64, freq_sel='top3'), 'N one of 1, 2, 4, 8, 16, 32, got .top3.'),
        (lambda: FCA(40), 'in_channels=40 .* 16 frequencies .*nearest valid: 32 or 48'),
        (lambda: FCA(64, dct_size=0), 'dct_size .* got 0'),
        (lambda: SCSE(64, join='mean'), 'join must be one of .* got .mean.'),
        (lambda: SimAM(64, e_lambda=0), 'e_lambda must be positive, got 0'),
        (lambda: RGSE(64, grid=0), 'grid .* got 0'),
        (
            lambda: SA(64),
            r"in_channels=64 .* 2 \* groups=128; nearest valid: 128, or groups='auto'",
        ),
        (lambda: SA(63, groups='auto'), 'in_channels=63 is odd.*nearest valid: 62 or 64'),
        (lambda: SA(64, groups='all'), "positive integer or 'auto', got 'all'"),
        (lambda: EMA(48), "in_channels=48 .* factor=32; nearest valid: 32 or 64, or factor='auto'"),
        (lambda: EMA(64, factor=-2), "positive integer or 'auto', got -2"),
        (
            lambda: ELA(40),
            'in_channels=40 .* num_groups=16; nearest valid: 32 or 48, or num_groups=',
        ),
        (lambda: ELA(64, num_groups=0), "positive integer or 'auto', got 0"),
        (lambda: ELA(64, kernel_size=2), 'kernel_size .* odd .* 2'),
        (lambda: LSKA(64, kernel_size=9), 'kernel_size .* 7, 11, 23, 35, 41, 53, got 9'),
        (lambda: LSKA(64, kernel_size=9, proj=True), 'kernel_size .* got 9'),
        (lambda: LSK(63), 'in_channels=63 is odd; nearest valid: 62 or 64'),
        (lambda: GAM(64, reduction=0), 'reduction .* got 0'),
        (lambda: MLCA(64, local_size=0), 'local_size .* got 0'),
        (lambda: MLCA(64, gamma=0), 'gamma must be positive, got 0'),
        (lambda: MLCA(64, b=-6.5, gamma=-1), 'gamma must be positive, got -1'),
        (lambda: MLCA(64, local_weight=2), 'local_weight must be from 0 to 1, got 2'),
        (lambda: CAA(64, h_kernel_size=4), 'h_kernel_size .* odd .* 4'),
        (lambda: CAA(64, v_kernel_size=0), 'v_kernel_size .* odd .* 0'),
        (lambda: MixedPooling(64, pool_size=(12,)), r'pool_size must be .* 2 numbers, got \(12,\)'),
        (lambda: MixedPooling(64, pool_size=(12, 0)), 'pool_size .* positive .* 0'),
        (lambda: MixedPooling(64, pool_size=12), 'pool_size must be .* 2 numbers, got 12'),
        (
            lambda: PSA(96),
            'in_channels=96 .* 64: 4 branches .*nearest valid: 64 or 128, or conv_gr',
        ),
        (lambda: PSA(54, conv_groups='auto'), 'in_channels=54 .* 4 branches; .* 52 or 56'),
        (lambda: PSA(64, conv_groups='all'), "conv_groups must be .* got 'all'"),
        (lambda: PSA(64, conv_kernels=(3, 5)), 'conv_kernels=.* conv_groups=.* as many'),
        (lambda: PSA(64, conv_kernels=(3, 5, 7, 8)), 'conv_kernels .* odd .* 8'),
        (lambda: PSA(64, conv_groups=(1, 4, 8, 0)), 'conv_groups .* positive .* 0'),
        (
            lambda: LCT(64, groups=7),
            "in_channels=64 .* groups=7; nearest valid: 63 or 70, or groups='auto'",
        ),
        (lambda: LCT(64, groups=64), 'groups=64 leave a single channel'),
        (lambda: LCT(1), 'single channel of in_channels=1 to each'),
        (lambda: LCT(64, eps=0), 'eps must be positive, got 0'),
        (lambda: SK(63), 'in_channels=63 .* 2 paths; nearest valid: 62 or 64, or split_input='),
        (lambda: SK(64, kernel_size=(3,)), r'kernel_size must be .* 2 or more numbers, got \(3,\)'),
        (lambda: SK(64, kernel_size=5), 'kernel_size must be .* 2 or more numbers, got 5'),
        (lambda: SK(64, kernel_size=(3, 4)), 'kernel_size .* odd .* 4'),
        (lambda: SK(64, rd_ratio=0), 'rd_ratio must be positive, got 0'),
        (lambda: SK(64, rd_divisor=0), 'rd_divisor .* got 0'),
        (lambda: GC(64, ratio=0), 'ratio must be positive, got 0'),
        (lambda: GC(64, pooling_type='max'), 'pooling_type must be one of att, avg, got .max.'),
        (lambda: GC(64, fusion_types=('add',)), r"fusion_types .* got \('add',\)"),
        (lambda: GC(64, fusion_types='channel_add'), "fusion_types .* got 'channel_add'"),
        (lambda: Triplet(64, kernel_size=2), 'kernel_size .* odd .* 2'),
        (lambda: BAM(64, num_layers=0), 'num_layers .* got 0'),
        (lambda: BAM(64, dilation_val=0), 'dilation_val .* got 0'),
        (lambda: A2(64, c_m=0), 'c_m must be a positive integer or None, got 0'),
        (lambda: SGE(40), "in_channels=40 .* groups=64; nearest valid: 64, or groups='auto'"),
        (lambda: SequentialPolarized(64, form='p'), 'form must be one of code, paper, got .p.'),
        (lambda: GE(64, extent=3), 'extent must be one of 0, 2, 4, 8, got 3'),
        (lambda: GE(64, map_size=0), 'map_size .* got 0'),
        (lambda: CoT(60), 'in_channels=60 is not a multiple of 8; nearest valid: 56 or 64'),
        (lambda: CoT(64, kernel_size=4), 'kernel_size .* odd .* 4'),
        (lambda: DANet(64, dropout_ratio=1), 'dropout_ratio must be from 0 to below 1, got 1'),
        (lambda: CrissCross(64, recurrence=0), 'recurrence .* got 0'),
        (lambda: PAM(64, max_positions=0), 'max_positions must be .* or None, got 0'),
        (lambda: NonLocal(64, mode='dot'), 'mode must be one of embedded_gaussian, .* got .dot.'),
        (lambda: GCT(64, mode='l3'), 'mode must be one of l2, l1, got .l3.'),
        (lambda: GCT(64, epsilon=0), 'epsilon must be positive, got 0'),
        (lambda: CA(64, norm_cfg=dict(type='Nothing')), "CA: norm_cfg .*'SyncBN'.*'Nothing'"),
        (lambda: SPSE(64, norm_cfg='BN'), "SPSE: norm_cfg .* got 'BN'"),
        (lambda: CBAM(64, norm_cfg=dict(type='BN', slope=1)), "CBAM: norm_cfg .*'slope'"),
    ],
)
def test_bad_arguments_name_the_value_and_what_is_valid(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ('build', 'value'),
    [
        (lambda: SA(24, groups='auto').groups, 12),
        (lambda: SA(256, groups='auto').groups, 64),
        (lambda: EMA(24, factor='auto').factor, 24),
        (lambda: EMA(256, factor='auto').factor, 32),
        (lambda: ELA(24, num_groups='auto').gn.num_groups, 12),
        (lambda: LCT(64).groups, 16),
        (
            lambda: [PSA(96, conv_groups='auto').get_submodule(f'conv_{i}').groups for i in (2, 4)],
            [4, 8],
        ),
        (lambda: LCT(24).groups, 6),
        (lambda: LCT(2048).groups, 64),
        (lambda: LCT(6).groups, 1),
    ],
)
def test_auto_takes_the_largest_number_that_divides(build, value):
    assert build() == value
