"""Run by test_triton.py under TRITON_INTERPRET=1: kernels against the pure way in float64.

Tiles are made small, so that maps of a few pixels have several chunks and blocks of each kind.
"""

import sys

import pytest
import torch

from mmattn.kernels import choice
from mmattn.kernels.primitive import PRIMITIVES
from mmattn.kernels.triton import tiles
from tests.test_kernels.examples import EXAMPLES
from tests.test_kernels.test_primitives import (
    assert_equal_to,
    error,
    is_float,
    run,
    some_like,
)

CASES = [
    case
    for case in EXAMPLES
    if choice.found(choice.TRITON, PRIMITIVES[case.split()[0]].file, case.split()[0])
]
CHECKS = [
    # Elements of a tile, bits of an offset, shape, dtype, channels_last.
    (2048, 32, (2, 4, 5, 7), torch.float32, False),
    (32, 32, (1, 4, 5, 6), torch.float32, False),
    (32, 64, (1, 4, 5, 6), torch.float32, True),
    (256, 32, (1, 4, 7, 7), torch.bfloat16, True),
    (256, 32, (1, 4, 7, 7), torch.float16, False),
]


@pytest.fixture(params=CHECKS, ids=lambda check: '-'.join(map(str, check)))
def setting(request, monkeypatch):
    elements, bits, *rest = request.param
    monkeypatch.setattr(tiles, 'ELEMENTS', elements)
    monkeypatch.setattr(tiles, 'ROWS', 2)
    monkeypatch.setattr(tiles, 'WIDE', 0 if bits == 64 else 2**31)
    for name, module in list(sys.modules.items()):
        if name.startswith('mmattn.kernels.triton'):
            for value in vars(module).values():
                getattr(value, 'cache_clear', int)()
    return rest


def test_there_are_kernels():
    assert {case.split()[0] for case in CASES} == set(PRIMITIVES)


@pytest.mark.parametrize('case', CASES)
def test_numbers(case, setting):
    shape, dtype, last = setting
    torch.manual_seed(0)
    inputs = list(EXAMPLES[case](shape, dtype))
    wide = [x.double() if is_float(x) else x for x in inputs]
    # Of the same gradients, rounded.
    grads = [grad.to(dtype).double() for grad in some_like(run(case, wide, 'pure')[0])]
    exact = run(case, wide, 'pure', grads)
    if last:
        inputs[0] = inputs[0].to(memory_format=torch.channels_last)
    assert choice.implementation(inputs[0]) == choice.TRITON
    results = run(case, inputs)
    if dtype == torch.float32:
        assert_equal_to(results, run(case, inputs, 'pure', [grad.float() for grad in grads]), exact)
    else:
        for actual, expected in zip(sum(results, []), sum(exact, []), strict=True):
            assert error(actual, expected) < 4 * torch.finfo(dtype).eps
