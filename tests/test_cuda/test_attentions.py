"""Attentions as a GPU runs them. What needs none runs here on a CPU, by the same functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn import kernels
from mmattn.analysis.throughput import peak_memory
from mmattn.attention import SCSA
from mmattn.attention.names import attention_names, find_attention

on_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device'),
]
a_gpu = pytest.param('cuda', marks=on_cuda)
each_device = pytest.mark.parametrize('device', ['cpu', a_gpu])
slow_on_a_cpu = pytest.mark.parametrize(
    'device', [pytest.param('cpu', marks=pytest.mark.slow), a_gpu]
)
each_attention = pytest.mark.parametrize('name', attention_names())
each_way = pytest.mark.parametrize('way', ['auto', 'pure'])
each_layout = pytest.mark.parametrize(
    'layout', [torch.contiguous_format, torch.channels_last], ids=['nchw', 'channels_last']
)
SIXTEEN = {'cpu': [torch.bfloat16], 'cuda': [torch.bfloat16, torch.float16]}
# 64 groups of SA need two channels each.
CHANNELS = 128


def built(name, device, **arguments):
    torch.manual_seed(0)
    return find_attention(name)(CHANNELS, **arguments).to(device)


def map_on(device, size=(14, 14), batch=4):
    return torch.randn(batch, CHANNELS, *size, generator=torch.Generator().manual_seed(1)).to(
        device
    )


def step(module, x):
    """A forward and a backward pass: the output, the gradients of the map and the parameters."""
    leaf = x.detach().requires_grad_()
    out = module(leaf)
    wanted = [leaf, *module.parameters()]
    return [out.detach(), *torch.autograd.grad(out.float().square().mean(), wanted)]


def difference(a, b):
    return (a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-12)


@each_layout
@each_way
@each_device
@each_attention
def test_autocast(name, device, way, layout):
    """Dtype and format of the map stay; the numbers are those of float32, rounded."""
    module, x = built(name, device), map_on(device).contiguous(memory_format=layout)
    with kernels.using('pure'):
        expected = step(module, x)
    for dtype in SIXTEEN[device]:
        with kernels.using(way), torch.autocast(device, dtype):
            out, to_map, *_ = step(module, x.to(dtype))
        assert out.dtype == to_map.dtype == dtype
        assert out.is_contiguous(memory_format=layout)
        assert difference(out, expected[0]) < 8 * torch.finfo(dtype).eps
        assert difference(to_map, expected[1]) < 32 * torch.finfo(dtype).eps


@each_device
@each_attention
def test_peak_memory(name, device):
    """The kernels take no more memory in training than plain PyTorch does."""
    module, x = built(name, device), map_on(device, (28, 28), 8)
    peaks = {}
    for way in ('pure', 'auto'):
        with kernels.using(way):
            step(module, x)  # what is allocated once
            peaks[way] = peak_memory(lambda: step(module, x))
    assert peaks['auto'] <= 1.05 * peaks['pure']


@each_layout
@each_device
@each_attention
def test_the_same_bits_from_run_to_run(name, device, layout):
    module, x = built(name, device), map_on(device).contiguous(memory_format=layout)
    for a, b in zip(step(module, x), step(module, x), strict=True):
        assert torch.equal(a, b)


@each_device
@each_attention
def test_deterministic_algorithms(name, device, monkeypatch):
    """The kernels use nothing that torch refuses then."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    module, x = built(name, device), map_on(device)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with kernels.using('pure'):
            try:
                step(module, x)
            except RuntimeError as error:
                pytest.skip(f'plain PyTorch does: {error}')
        step(module, x)
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='torch sees no CUDA device')
@each_layout
@each_attention
def test_graph_capture(name, layout):
    """Forward and backward in one CUDA graph, replayed on another map."""
    module, x = built(name, 'cuda'), map_on('cuda').contiguous(memory_format=layout)
    module.eval()  # running statistics would move between the runs
    other = x.flip(0).contiguous(memory_format=layout)
    expected = step(module, other)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step(module, x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = step(module, x)
    x.copy_(other)
    graph.replay()
    for a, b in zip(results, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch._dynamo.is_dynamo_supported(), reason='this Python has no dynamo')
@pytest.mark.parametrize('shape', [(2, 64, 28, 28), (8, 512, 7, 7)], ids=str)
@slow_on_a_cpu
def test_compile(device, shape):
    """As one graph; on a GPU by the compiler itself."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    module, x = SCSA(shape[1]).to(device), torch.randn(shape).to(device)
    backend = 'aot_eager' if device == 'cpu' else 'inductor'
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    expected = step(module, x)
    leaf = x.requires_grad_()
    out = compiled(leaf)
    wanted = [leaf, *module.parameters()]
    gradients = torch.autograd.grad(out.square().mean(), wanted)
    for a, b in zip((out, *gradients), expected, strict=True):
        assert difference(a, b) < 1e-4


@slow_on_a_cpu
def test_two_processes(device, tmp_path):
    """Two processes, on one GPU, have the gradients of one that has the whole batch."""
    project = Path(__file__).resolve().parents[2]
    paths = [str(project), os.environ.get('PYTHONPATH', '')]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'OMP_NUM_THREADS': '1'}
    worker = Path(__file__).with_name('worker.py')
    processes = [
        subprocess.Popen(
            [sys.executable, str(worker), device, str(rank), str(tmp_path)],
            env=environment,
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    torch.manual_seed(0)
    module, x = SCSA(32).to(device), torch.randn(4, 32, 14, 14).to(device)
    module(x).square().mean().backward()
    parts = [torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in range(2)]
    for parameter, first, second in zip(module.parameters(), *parts, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first, parameter.grad.cpu(), rtol=1e-4, atol=1e-7)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two GPUs')
def test_a_device_that_is_not_the_current_one():
    with torch.cuda.device(0):
        expected = step(built('SCSA', 'cuda:0'), map_on('cuda:0'))
        results = step(built('SCSA', 'cuda:1'), map_on('cuda:1'))
    for a, b in zip(results, expected, strict=True):
        assert a.device.index == 1
        torch.testing.assert_close(a.cpu(), b.cpu())
