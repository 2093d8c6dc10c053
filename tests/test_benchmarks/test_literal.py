"""What the benchmarks measure against is the same function as ours."""

import importlib
import sys

import pytest
import torch
from torch import nn

from mmattn.attention.names import attention_names
from mmattn.registry import MODELS

NAMES = MODELS.names_in('mmattn.attention')
# What depends on the size of the map, or has no default in the paper.
ARGUMENTS = {
    'FCA': {'dct_size': 14},
    'LCT': {'groups': 16},
    'RGSE': {'grid': 4},
    'SA': {'groups': 32},
}


@pytest.fixture
def package(project_root, monkeypatch):
    if not (project_root / 'benchmarks').is_dir():
        pytest.skip('benchmarks/ is not part of the wheel')
    monkeypatch.syspath_prepend(str(project_root / 'benchmarks'))
    yield importlib.import_module('literal')
    for name in [name for name in sys.modules if name.partition('.')[0] == 'literal']:
        del sys.modules[name]


def test_every_attention_has_one(package):
    assert sorted(package.LITERALS) == sorted(NAMES) and set(NAMES) <= set(attention_names())


@pytest.mark.parametrize('train', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize(
    'size, form',
    [((14, 14), torch.contiguous_format), ((16, 9), torch.channels_last)],
    ids=['NCHW', 'channels_last'],
)
@pytest.mark.parametrize('name', NAMES)
def test_it_is_the_same_function(name, size, form, train, package):
    torch.manual_seed(0)
    arguments = ARGUMENTS.get(name, {})
    ours = MODELS.get(name)(128, **arguments).double().train(train)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs = package.literal(ours, **arguments)
    x, weight = torch.randn(2, 2, 128, *size, dtype=torch.float64)
    seen = []
    for module in (ours, theirs):
        own = x.clone(memory_format=form).requires_grad_()
        out = module(own)
        (out * weight).sum().backward()
        seen.append([out, own.grad, *(p.grad for _, p in sorted(module.named_parameters()))])
    for actual, expected in zip(*seen, strict=True):
        # Cosines are in float32, and a bias in front of a BatchNorm has no gradient but rounding.
        tolerance = 1e-6 * expected.abs().max().clamp_min(1e-4).item()
        torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)
