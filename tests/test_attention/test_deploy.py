"""Every registered attention compiles, exports and differentiates; the registry is walked."""

import io
import warnings

import pytest
import torch

from mmattn.attention import Attention
from mmattn.attention.names import attention_names, find_attention
from mmattn.registry import MODELS

ALL = attention_names()
# SA's 64 groups need two channels each.
CHANNELS = 128
NEW_TORCH = tuple(int(n) for n in torch.__version__.split('.')[:2]) >= (2, 5)


def build(name, channels=CHANNELS, **arguments):
    torch.manual_seed(0)
    module = MODELS.build(dict(type=name, in_channels=channels, **arguments))
    for parameter in module.parameters():
        # Defaults such as zeros would hide a wrong branch.
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


def small(name):
    """The attention on as few channels as it takes: gradcheck is quadratic."""
    for channels in (4, 8, 16, 32, 64, 128):
        try:
            return find_attention(name)(channels).double(), channels
        except ValueError:
            continue
    raise AssertionError(f'{name} takes none of these channels')


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', ALL)
def test_gradients_are_those_of_finite_differences(name, training):
    torch.manual_seed(0)
    module, channels = small(name)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    module.train(training)
    # Distinct values: a maximum has no derivative where two are equal.
    x = torch.randperm(2 * channels * 6).double().reshape(2, channels, 3, 2) / (6 * channels)
    x = (x - x.mean()).requires_grad_()
    parameters = list(module.parameters())

    def run(x, *_):
        return module(x)

    fast = channels > 8
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=fast, nondet_tol=1e-9)


@pytest.mark.parametrize('name', ALL)
def test_compiles_without_graph_breaks(name):
    torch._dynamo.reset()
    module = build(name)
    x = torch.randn(2, CHANNELS, 9, 14)
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
@pytest.mark.parametrize('name', ALL)
def test_traces(name):
    module = build(name)
    x = torch.randn(2, CHANNELS, 14, 9)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(module, x)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        traced = torch.jit.load(buffer)
    torch.testing.assert_close(traced(x), module(x))


@pytest.mark.skipif(not NEW_TORCH, reason='torch 2.1 has no dynamic shapes in torch.export')
@pytest.mark.parametrize('name', ALL)
def test_exports_with_dynamic_height_and_width(name):
    module = build(name)
    height, width = (
        torch.export.Dim('height', min=14, max=512),
        torch.export.Dim('width', min=14, max=512),
    )
    program = torch.export.export(
        module, (torch.randn(2, CHANNELS, 14, 21),), dynamic_shapes=({2: height, 3: width},)
    ).module()
    for size in ((14, 21), (33, 20)):
        x = torch.randn(2, CHANNELS, *size)
        torch.testing.assert_close(program(x), module(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('name', ALL)
def test_onnx_agrees_at_two_sizes(name, tmp_path):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    module = build(name)
    path = str(tmp_path / 'attention.onnx')
    example = torch.randn(2, CHANNELS, 14, 21)
    options = dict(input_names=['x'], output_names=['y'])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if NEW_TORCH:
            pytest.importorskip('onnxscript')
            shapes = dict(x={2: torch.export.Dim('h', min=14), 3: torch.export.Dim('w', min=14)})
            torch.onnx.export(
                module,
                (example,),
                path,
                dynamo=True,
                dynamic_shapes=shapes,
                verbose=False,
                **options,
            )
        else:
            torch.onnx.export(
                module,
                example,
                path,
                opset_version=17,
                dynamic_axes={'x': {2: 'h', 3: 'w'}},
                **options,
            )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((14, 21), (33, 20)):
        x = torch.randn(2, CHANNELS, *size)
        (out,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(out), module(x), atol=1e-4, rtol=1e-3)


def mean_error(actual, expected):
    """Mean absolute error relative to the mean absolute value."""
    return (actual.double() - expected.double()).abs().mean() / expected.double().abs().mean()


@pytest.mark.parametrize('name', ALL)
def test_is_deterministic_with_deterministic_algorithms(name):
    module = build(name).train()
    x = torch.randn(2, CHANNELS, 14, 9)
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            leaf = x.clone().requires_grad_()
            module(leaf).square().sum().backward()
            gradients.append(leaf.grad)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(*gradients)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ALL)
def test_every_dtype_in_is_the_dtype_out(name, dtype):
    if dtype == torch.float16 and not NEW_TORCH:
        pytest.skip('torch 2.1 has no float16 convolution, linear or GroupNorm on a CPU')
    module = build(name).to(dtype)
    x = torch.randn(2, CHANNELS, 9, 14).to(dtype)
    out = module(x)
    assert out.dtype == dtype and out.isfinite().all()
    expected = module.double()(x.double())
    tolerance = {torch.bfloat16: 0.05, torch.float16: 0.005}.get(dtype, 1e-5)
    assert mean_error(out, expected) < tolerance


@pytest.mark.parametrize('name', ALL)
def test_autocast_stays_close(name):
    module = build(name)
    x = torch.randn(2, CHANNELS, 9, 14)
    with torch.autocast('cpu', torch.bfloat16):
        out = module(x)
    assert mean_error(out, module(x)) < 0.05


@pytest.mark.parametrize('name', ALL)
def test_channels_last_comes_out_channels_last(name):
    module = build(name)
    x = torch.randn(2, CHANNELS, 9, 14).to(memory_format=torch.channels_last)
    assert module(x).is_contiguous(memory_format=torch.channels_last)


def test_every_attention_says_where_it_goes():
    for name in ALL:
        assert find_attention(name).placement in ('inner', 'before_norm', 'outer')
        assert issubclass(find_attention(name), Attention)
