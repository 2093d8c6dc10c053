"""Learnable parameters at C = 256, as the original implementations have them."""

import pytest
import torch

from mmattn.attention.names import find_attention

COUNTS = [
    ('A2', dict(c_m=64, c_n=64), 65_984),
    ('BAM', {}, 17_361),
    ('CAA', {}, 138_240),
    ('CAM', {}, 1),
    ('CoT', {}, 417_248),
    ('CrissCross', {}, 82_241),
    ('DANet', {}, 390_994),
    ('ESE', {}, 65_792),
    ('External', {}, 164_608),
    ('GAM', {}, 1_639_680),
    ('GC', {}, 8_753),
    ('GCT', {}, 768),
    ('GE', dict(extra_params=True, extent=8, use_mlp=False), 8_448),
    ('LCT', {}, 512),
    ('LKA', {}, 85_248),
    ('LKA', dict(proj=True), 216_832),
    ('LSK', {}, 118_470),
    ('LSK', dict(proj=True), 250_054),
    ('LSKA', dict(kernel_size=23), 72_960),
    ('LSKA', dict(kernel_size=23, proj=True), 204_544),
    ('MCA', {}, 17),
    ('MLCA', {}, 10),
    ('MixedPooling', {}, 276_096),
    ('NAM', {}, 512),
    ('NonLocal', {}, 131_712),
    ('PAM', {}, 82_241),
    ('PSA', {}, 433_732),
    ('ParNet', {}, 722_432),
    ('ParallelPolarized', {}, 131_328),
    ('ParallelPolarized', dict(form='paper'), 132_481),
    ('SGE', {}, 128),
    ('SK', {}, 603_168),
    ('SRM', {}, 1_024),
    ('SequentialPolarized', {}, 111_200),
    ('StripPooling', {}, 460_032),
    ('Triplet', {}, 300),
]


@pytest.mark.parametrize(('name', 'arguments', 'count'), COUNTS)
def test_parameters(name, arguments, count):
    with torch.device('meta'):
        module = find_attention(name)(256, **arguments)
    assert sum(p.numel() for p in module.parameters()) == count
