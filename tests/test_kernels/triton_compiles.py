"""Run by test_triton.py: compile for an H100 what calls on a CPU would start there.

Triton needs no GPU for that, only to be told which one it would be.
"""

import pytest
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from mmattn.kernels import choice
from mmattn.kernels.primitive import PRIMITIVES
from tests.test_kernels.examples import EXAMPLES
from tests.test_kernels.test_primitives import as_tuple

SETTINGS = [((2, 16, 56, 56), torch.float32, False), ((2, 8, 7, 7), torch.bfloat16, True)]


class Driver:
    """As much of a GPU's driver as compiling asks for."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget('cuda', 90, 32)


@pytest.fixture
def compiled(monkeypatch):
    """The kernels, which are compiled instead of started."""
    found, start = {}, JITFunction.run

    def compile_only(self, *args, grid, warmup, **kwargs):
        kernel = start(self, *args, grid=grid, warmup=True, **kwargs)
        found[f'{self.__module__}.{self.fn.__name__}'] = kernel.asm['cubin']
        return kernel

    driver.set_active(Driver())
    monkeypatch.setattr(JITFunction, 'run', compile_only)
    return found


@pytest.mark.parametrize('case', EXAMPLES)
@pytest.mark.parametrize(('shape', 'dtype', 'last'), SETTINGS)
def test_compiles(case, shape, dtype, last, compiled):
    primitive = PRIMITIVES[case.split()[0]]
    forward, backward = (
        choice.found(choice.TRITON, primitive.file, primitive.name + end)
        for end in ('', '_backward')
    )
    inputs = list(EXAMPLES[case](shape, dtype))
    if last:
        inputs[0] = inputs[0].to(memory_format=torch.channels_last)
    results = as_tuple(forward(*inputs))
    outputs, kept = results[: primitive.outputs], results[primitive.outputs :]
    backward(*(torch.empty_like(x) for x in outputs), *inputs, *kept)
    assert compiled
    assert all(compiled.values())
