"""Every attention in what training does with it, by the kernels and by pure PyTorch.

That both give the same numbers is ``check_kernels`` in test_contract.py.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mmattn
from mmattn import kernels
from mmattn.attention.names import attention_names, find_attention

CHANNELS = 128
pytestmark = pytest.mark.usefixtures('mode')
each_attention = pytest.mark.parametrize('name', attention_names())


def build(name, **arguments):
    """In eval mode, with weights that hide nothing."""
    torch.manual_seed(0)
    module = find_attention(name)(CHANNELS, **arguments)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def a_map(*shape, **options):
    return torch.randn(shape or (2, CHANNELS, 9, 14), **options)


def gradients(module, x, out, **options):
    grad = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
    return torch.autograd.grad(out, [x, *module.parameters()], grad, **options)


@pytest.mark.parametrize('use_reentrant', [False, True], ids=['saved_hooks', 'reentrant'])
@each_attention
def test_gradient_checkpointing(name, use_reentrant):
    module = build(name)
    x = a_map(requires_grad=True)
    expected = module(x)
    grad = torch.linspace(-1, 1, x.numel()).reshape(x.shape)
    wanted = gradients(module, x, expected)
    out = checkpoint(module, x, use_reentrant=use_reentrant)
    # Without gradients, as the reentrant way runs it first, SSE is a convolution.
    torch.testing.assert_close(out, expected)
    out.backward(grad)
    for tensor, value in zip([x, *module.parameters()], wanted, strict=True):
        assert torch.equal(tensor.grad, value)


@each_attention
def test_backward_twice(name):
    module = build(name)
    x = a_map(requires_grad=True)
    out = module(x)
    first = gradients(module, x, out, retain_graph=True)
    second = gradients(module, x, out)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match='second time'):
        gradients(module, x, out)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
@each_attention
def test_a_map_that_needs_no_gradient(name, layout):
    """As behind a frozen backbone; one window, and maps of other sizes."""
    module = build(name)
    for size in ((7, 9), (14, 15)):
        x = a_map(2, CHANNELS, *size, requires_grad=True)
        wanted = gradients(module, x, module(x))[1:]
        out = module(x.detach().to(memory_format=layout))
        if not wanted:
            continue
        grad = torch.linspace(-1, 1, x.numel()).reshape(x.shape)
        found = torch.autograd.grad(out, list(module.parameters()), grad)
        for actual, expected in zip(found, wanted, strict=True):
            torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-4)


@each_attention
def test_frozen_parameters_and_inputs(name):
    """What is frozen gets no gradient, the rest the same one."""
    module = build(name, warm_start=True)
    x = a_map(requires_grad=True)
    wanted = gradients(module, x, module(x))
    # One parameter, or the input, that learns among frozen ones.
    leaves = [x, *module.parameters()]
    for i in {0, 1, len(leaves) // 2, len(leaves) - 1}:
        for j, leaf in enumerate(leaves):
            leaf.requires_grad_(i == j)
            leaf.grad = None
        out = module(x)
        out.backward(torch.linspace(-1, 1, out.numel()).reshape(out.shape))
        torch.testing.assert_close(leaves[i].grad, wanted[i], atol=1e-4, rtol=1e-5)
        assert all(leaf.grad is None for leaf in leaves if leaf is not leaves[i])
    with torch.no_grad():
        assert not module(x).requires_grad


@each_attention
def test_double_backward(name):
    """A penalty on the gradient: its own gradient is that of pure PyTorch."""

    def penalty():
        out = module(x)
        (gradient,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        inputs = [x, *module.parameters()]
        return torch.autograd.grad(gradient.square().sum(), inputs, allow_unused=True)

    # In float64: what cancels in float32 has no digits left to compare.
    module = build(name).double()
    x = a_map(1, CHANNELS, 5, 4, dtype=torch.float64, requires_grad=True)
    actual = penalty()
    with kernels.using('pure'):
        expected = penalty()
    for a, b in zip(actual, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).norm() <= 1e-5 * max(b.norm().item(), 1.0)


@each_attention
def test_any_number_of_threads(name):
    # In float64: gradients behind several norms have four digits in float32.
    module = build(name).train().double()
    x = a_map(3, CHANNELS, 14, 15, dtype=torch.float64, requires_grad=True)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 1, 2, 4):
            torch.set_num_threads(threads)
            out = module(x)
            results.append([out.detach(), *gradients(module, x, out)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results[:2], strict=True))
    for other in results[2:]:
        for a, b in zip(other, results[0], strict=True):
            assert (a - b).norm() <= 1e-10 * max(b.norm().item(), 0.01 * x.norm().item())


@each_attention
def test_autocast(name):
    """Training in mixed precision: gradients in the parameters' dtype, near to float32's."""
    module = build(name)
    # Where no ReLU of PSA's is within a rounding of 0.
    torch.manual_seed(1)
    x = a_map(requires_grad=True)
    wanted = gradients(module, x, module(x))
    with torch.autocast('cpu', torch.bfloat16):
        out = module(x)
    # What cancels, as of a bias in front of a softmax or in one sum over the map, has no digits.
    least = 0.01 * max(x.norm().item(), *(gradient.norm().item() for gradient in wanted))
    for actual, expected in zip(gradients(module, x, out), wanted, strict=True):
        assert actual.dtype == torch.float32
        size = max(expected.norm().item(), least if expected.numel() > 1 else x.norm().item())
        assert (actual - expected).norm() < 0.1 * size


# Two processes with half of the batch each; the first compares with the whole batch.
DISTRIBUTED = """
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from mmattn import kernels
from mmattn.attention.names import attention_names, find_attention


class All(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList(find_attention(name)(128) for name in attention_names())

    def forward(self, x):
        return sum(part(x).square().sum() for part in self.parts)


rank = int(sys.argv[1])
torch.set_num_threads(1)
distributed.init_process_group('gloo', init_method=sys.argv[2], rank=rank, world_size=2)
with kernels.using(sys.argv[3]):
    whole = All().eval()
    model = DistributedDataParallel(All().eval())
    x = torch.randn(4, 128, 7, 9)
    for _ in range(2):
        model.zero_grad()
        model(x[2 * rank : 2 * rank + 2]).backward()
    whole(x).backward()
for (key, a), b in zip(model.module.named_parameters(), whole.parameters()):
    assert (2 * a.grad - b.grad).norm() <= 1e-5 * max(b.grad.norm().item(), 1.0), key
distributed.barrier()
print('same')
"""


def test_two_processes(mode, tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'tcp://127.0.0.1:{free.getsockname()[1]}'
    script = tmp_path / 'distributed.py'
    script.write_text(DISTRIBUTED)
    path = os.pathsep.join([str(Path(mmattn.__file__).parents[1]), *sys.path])
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), address, mode],
            env={**os.environ, 'PYTHONPATH': path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert out.strip() == 'same', err
