"""What mmattn's own tests run on every attention, for attentions of anyone's own.

    from mmattn.testing import check_attention
    check_attention(MyAttention, reduction=4)

The checks need no test framework; each one of ``CHECKS`` takes the same arguments as
:func:`check_attention`, so that pytest can name them one by one::

    @pytest.mark.parametrize('check', CHECKS)
    def test_my_attention(check):
        check(MyAttention, reduction=4)
"""

import copy
import inspect
import io
import pickle
import tempfile
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias
from unittest import SkipTest

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from mmattn import kernels
from mmattn.attention import Attention
from mmattn.kernels.choice import CAN_REGISTER
from mmattn.testing.precision import CudaAutocast, Widened
from mmattn.utils.torch_version import NEW_TORCH

Kind: TypeAlias = type[Attention]
# SA's 64 groups need two channels each.
CHANNELS = 128
SIZES = ((1, 1), (3, 5), (7, 7), (14, 9), (50, 38))


def check_attention(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Check that an attention keeps the contract of :class:`mmattn.attention.Attention`.

    What cannot be checked on this machine is skipped with a warning.

    Args:
        cls: The class.
        in_channels: Channels to check it with; 128 fits mmattn's own.
        arguments: Further arguments of the class.

    Raises:
        AssertionError: Naming the check that fails, and what was seen.
    """
    for check in CHECKS:
        try:
            with torch.random.fork_rng(devices=[]):
                check(cls, in_channels, **arguments)
        except SkipTest as reason:
            warnings.warn(f'{check.__name__} skipped: {reason}', stacklevel=2)
        except AssertionError as error:
            raise AssertionError(f'{check.__name__}: {cls.__name__}: {error}') from error


def _build(cls: Kind, in_channels: int, arguments: dict, **more: Any) -> Attention:
    torch.manual_seed(0)
    return cls(in_channels, **arguments, **more)


def _randomised(cls: Kind, in_channels: int, arguments: dict, **more: Any) -> Attention:
    """In eval mode; default weights such as zeros would hide a wrong branch."""
    module = _build(cls, in_channels, arguments, **more)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def _assert_near(actual: Tensor, expected: Tensor, tolerance: float, where: str) -> None:
    """The mean absolute error, relative to the mean absolute value, is below a tolerance."""
    error = (actual.double() - expected.double()).abs().mean() / expected.double().abs().mean()
    assert error < tolerance, f'{where} the output is off by {error:.2g}'


def _assert_close(actual: Tensor, expected: Tensor) -> None:
    """To a few roundings of the largest value."""
    largest = expected.abs().max().item()
    torch.testing.assert_close(actual, expected, atol=2e-6 * largest, rtol=1.3e-6)


def check_constructor(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """``in_channels`` first, ``warm_start`` off, no argument that could be swallowed."""
    assert issubclass(cls, Attention), 'it has to inherit from mmattn.attention.Attention'
    parameters = inspect.signature(cls).parameters
    assert next(iter(parameters), None) == 'in_channels', 'the first argument is in_channels'
    for name, parameter in parameters.items():
        assert parameter.kind == parameter.POSITIONAL_OR_KEYWORD, f'{parameter} swallows arguments'
        assert name == 'in_channels' or parameter.default is not parameter.empty, (
            f'{name} has no default: it has to be built from the channels alone'
        )
    warm = parameters.get('warm_start')
    assert warm is not None and warm.default is False, (
        'it takes warm_start, False by default, and passes it on: '
        'super().__init__(in_channels, warm_start)'
    )
    assert cls.placement in ('inner', 'before_norm', 'outer'), f'placement is {cls.placement!r}'
    for stage in range(4):
        _build(cls, in_channels, {**cls.slot_defaults(stage), **arguments})
    shown = repr(_build(cls, in_channels, arguments))
    assert f'in_channels={in_channels}' in shown, f'repr leaves out in_channels: {shown}'


def check_bad_channels(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Channels that cannot be are refused by name."""
    for channels in (0, -8, 2.5, '64'):
        case = f'in_channels={channels!r}'
        try:
            cls(channels, **arguments)
        except ValueError as error:
            named = 'in_channels' in str(error) and str(channels) in str(error)
            assert named, f'{case} is not named: {error}'
        else:
            raise AssertionError(f'{case} is accepted; call super().__init__ before it is used')


def check_sizes(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Any size keeps its shape; the input and every parameter get finite gradients."""
    for (height, width), training in product(SIZES, (False, True)):
        case = f'{height}x{width}, {"training" if training else "eval"}'
        module = _build(cls, in_channels, arguments).train(training)
        x = torch.randn(2, in_channels, height, width, requires_grad=True)
        out = module(x)
        assert out.shape == x.shape, f'{case}: {tuple(x.shape)} becomes {tuple(out.shape)}'
        assert out.isfinite().all(), f'{case}: the output is not finite'
        out.square().sum().backward()
        assert x.grad.isfinite().all() and x.grad.any(), f"{case}: the input's gradient"
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, f'{case}: {key} gets no gradient'
            assert parameter.grad.isfinite().all(), f"{case}: {key}'s gradient is not finite"


def check_one_value(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """One image of one pixel trains, and one image of several: no norm asks for more."""
    module = _build(cls, in_channels, arguments).train()
    for size in ((1, 1), (3, 5)):
        x = torch.randn(1, in_channels, *size, requires_grad=True)
        out = module(x)
        out.square().sum().backward()
        assert out.isfinite().all(), f'1x{size}: the output is not finite'
        assert x.grad.isfinite().all(), f"1x{size}: the input's gradient is not finite"


def check_dims(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Sequences and volumes are refused; with ``any_dims`` the order of the places is nothing."""
    module = _randomised(cls, in_channels, arguments)
    for shape in ((3,), (2, 3, 4)) if module.any_dims else ():
        x = torch.randn(2, in_channels, *shape)
        count = x[0, 0].numel()
        order = torch.randperm(count)
        mixed = x.flatten(2)[:, :, order].unsqueeze(3)
        expected = module(mixed)[..., 0][:, :, order.argsort()].reshape(x.shape)
        _assert_close(module(x), expected)
    for shape in ((), (2, 3, 4, 5)) if module.any_dims else ((), (3,), (2, 3, 4)):
        x = torch.randn(2, in_channels, *shape)
        try:
            module(x)
        except ValueError as error:
            assert str(tuple(x.shape)) in str(error), f'{tuple(x.shape)} is not named: {error}'
        else:
            raise AssertionError(f'an input of {tuple(x.shape)} is accepted')


def check_gradients(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Gradients are those of finite differences."""
    for channels in (4, 8, 16, 32, 64, in_channels):
        try:
            _build(cls, channels, arguments)
            break
        except ValueError:
            # gradcheck is quadratic: on as few channels as it takes.
            continue
    # And along one direction on all: of a few, none may be in the half where a ReLU has a slope.
    for count in dict.fromkeys((channels, in_channels)):
        _check_gradients(cls, count, arguments)


def _check_gradients(cls: Kind, channels: int, arguments: dict) -> None:
    module = _build(cls, channels, arguments).double()
    # Distinct values: a maximum has no derivative where two are equal.
    x = torch.randperm(2 * channels * 6).double().reshape(2, channels, 3, 2) / (6 * channels)
    x = (x - x.mean()).requires_grad_()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    named = module.named_parameters()
    learned = [parameter for name, parameter in named if name not in cls.detached]
    for training in (False, True):
        module.train(training)
        inputs = x, *learned
        options = dict(fast_mode=channels > 8, nondet_tol=1e-9)
        try:
            torch.autograd.gradcheck(lambda x, *_: module(x), inputs, **options)
        except GradcheckError as error:
            what = str(error).strip().splitlines()[0].rstrip(',:')
            raise AssertionError(f'{what} ({"training" if training else "eval"})') from error


def check_memory_formats(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """channels_last gives the same output, in channels_last."""
    module = _randomised(cls, in_channels, arguments)
    x = torch.randn(2, in_channels, 9, 14)
    out = module(x.to(memory_format=torch.channels_last))
    kept = out.is_contiguous(memory_format=torch.channels_last)
    assert kept, 'a channels_last map comes out in another memory format'
    _assert_near(out, module(x), 1e-5, 'of a channels_last map')


def check_kernels(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """The outputs and all gradients are those of pure PyTorch, in both memory formats."""
    for warm_start, training in product((False, True), (False, True)):
        module = _randomised(cls, in_channels, arguments, warm_start=warm_start).train(training)
        # A norm of the means of two images, or of images that are alike, leaves no digits.
        x = torch.randn(4, in_channels, 9, 14) + 0.3 * torch.randn(4, in_channels, 1, 1)
        grad = torch.randn_like(x)
        expected = _results(module, x, grad, 'pure')
        for memory_format in (torch.contiguous_format, torch.channels_last):
            actual = _results(module, x.to(memory_format=memory_format), grad, 'auto')
            for key, value in expected.items():
                # A sum that cancels, as of a bias in front of a BatchNorm, has no digits.
                scale = max(value.norm().item(), 0.1 * grad.norm().item())
                off = (actual[key] - value).norm().item() / scale
                tolerance = 2e-6 if key == 'the output' else 3e-5
                assert off < tolerance, f'with kernels {key} is off by {off:.2g}, {memory_format}'


def _results(module: Attention, x: Tensor, grad: Tensor, mode: str) -> dict[str, Tensor]:
    x = x.detach().requires_grad_()
    named = dict(module.named_parameters())
    with kernels.using(mode):
        out = module(x)
        gradients = torch.autograd.grad(out, [x, *named.values()], grad)
    names = ["the input's gradient", *(f"{name}'s gradient" for name in named)]
    return {'the output': out.detach(), **dict(zip(names, gradients, strict=True))}


def check_dtypes(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """The dtype that goes in comes out, with as many digits."""
    tolerances = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 0.05}
    if NEW_TORCH:
        tolerances[torch.float16] = 0.005
    for dtype, tolerance in tolerances.items():
        module = _randomised(cls, in_channels, arguments).to(dtype)
        x = torch.randn(2, in_channels, 9, 14).to(dtype)
        out = module(x)
        assert out.dtype == dtype, f'{dtype} becomes {out.dtype}'
        assert out.isfinite().all(), f'the output in {dtype} is not finite'
        _assert_near(out, module.double()(x.double()), tolerance, f'in {dtype}')


def check_mixed_precision(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Under autocast the dtype stays; from torch 2.4 on, that no bfloat16 map is widened either."""
    for warm_start in (False, True):
        module = _randomised(cls, in_channels, arguments, warm_start=warm_start)
        x = torch.randn(2, in_channels, 45, 51)
        with torch.autocast('cpu', torch.bfloat16):
            out = module(x)
        assert out.dtype == x.dtype, f'under autocast {x.dtype} becomes {out.dtype}'
        _assert_near(out, module(x), 0.05, 'under autocast')
        x = x.bfloat16().requires_grad_()
        for training in (False, True):
            module.train(training)
            shapes = {tuple(parameter.shape) for parameter in module.parameters()}
            widened = Widened(x, shapes)
            with torch.autocast('cpu', torch.bfloat16), CudaAutocast(), widened:
                out = module(x)
            with widened:
                out.backward(torch.ones_like(out))
            assert out.dtype == x.dtype, f'under autocast {x.dtype} becomes {out.dtype}'
            # Without operators of ours, it sees what a kernel's pure way sums in float32.
            assert not widened.found or not CAN_REGISTER, (
                f'under autocast {", ".join(sorted(widened.found))} makes a float32 map; '
                f'multiply with mmattn.attention.base.gated, normalise with its group_norm'
            )


def check_warm_start(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """``warm_start=True`` is the identity to the last bit, and learns."""
    module = _build(cls, in_channels, arguments, warm_start=True)
    x = torch.randn(4, in_channels, 9, 14)
    for training in (True, False):
        assert torch.equal(module.train(training)(x), x), 'warm_start=True is not the identity'
        with torch.autocast('cpu', torch.bfloat16):
            assert torch.equal(module(x.bfloat16()), x.bfloat16()), 'nor under autocast'
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    before = copy.deepcopy(module.state_dict())
    for step in range(2):
        optimizer.zero_grad()
        (module(x) * x.roll(1, 0)).sum().backward()
        if step == 0:
            moving = {key for key, p in module.named_parameters() if p.grad.any()}
            assert moving == {'warm_scale'}, f'in the first step {sorted(moving)} have a gradient'
        optimizer.step()
    for key, parameter in module.named_parameters():
        # A shift of all keys cancels in a softmax, of all logits in a norm.
        learned = not torch.equal(parameter, before[key]) or parameter.grad.abs().max() < 1e-6
        assert learned, f'{key} does not learn'


def check_state_dict(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Weights survive a state_dict, a deepcopy and a pickle."""
    x = torch.randn(1, in_channels, 7, 7)
    for warm_start in (False, True):
        module = _randomised(cls, in_channels, arguments, warm_start=warm_start)
        other = cls(in_channels, **arguments, warm_start=warm_start).eval()
        other.load_state_dict(copy.deepcopy(module.state_dict()), strict=True)
        for twin in (other, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert torch.equal(twin(x), module(x)), 'a copy computes something else'


def check_determinism(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """It runs with torch's deterministic algorithms, and gives the same twice."""
    module = _randomised(cls, in_channels, arguments).train()
    x = torch.randn(2, in_channels, 14, 9)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        gradients = []
        for _ in range(2):
            leaf = x.clone().requires_grad_()
            torch.manual_seed(0)
            module(leaf).square().sum().backward()
            gradients.append(leaf.grad)
    finally:
        torch.use_deterministic_algorithms(before)
    assert torch.equal(*gradients), 'two runs have different gradients'


def check_compile(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """torch.compile takes it as one graph; its backend here needs no compiler."""
    if not torch._dynamo.is_dynamo_supported():
        raise SkipTest('torch.compile does not work with this Python')
    torch._dynamo.reset()
    module = _randomised(cls, in_channels, arguments)
    x = torch.randn(2, in_channels, 9, 14)
    compiled = torch.compile(module, fullgraph=True, backend='aot_eager')
    _assert_close(compiled(x), module(x))


def check_trace(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """torch.jit.trace takes it, and what is traced can be saved."""
    module = _randomised(cls, in_channels, arguments)
    x = torch.randn(2, in_channels, 14, 9)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.trace(module, x), buffer)
        buffer.seek(0)
        traced = torch.jit.load(buffer)
    _assert_close(traced(x), module(x))


def check_export(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """torch.export takes it with dynamic height and width."""
    if not NEW_TORCH:
        raise SkipTest(f'torch {torch.__version__} has no dynamic sizes in torch.export')
    module = _randomised(cls, in_channels, arguments)
    example = torch.randn(2, in_channels, 14, 21)
    program = torch.export.export(module, (example,), dynamic_shapes=(_dynamic(14),)).module()
    for size in ((14, 21), (33, 20)):
        x = torch.randn(2, in_channels, *size)
        _assert_close(program(x), module(x))


def check_onnx(cls: Kind, in_channels: int = CHANNELS, **arguments: Any) -> None:
    """Its ONNX graph gives the same in onnxruntime, at several sizes."""
    try:
        import onnx  # noqa: F401
        import onnxruntime

        if NEW_TORCH:
            import onnxscript  # noqa: F401
    except ImportError as error:
        raise SkipTest(f'needs {error.name}') from error
    module = _randomised(cls, in_channels, arguments)
    example = torch.randn(2, in_channels, 14, 21)
    names = dict(input_names=['x'], output_names=['y'])
    if NEW_TORCH:
        options = dict(dynamo=True, dynamic_shapes=dict(x=_dynamic(2)), verbose=False)
    else:
        options = dict(opset_version=17, dynamic_axes={'x': {2: 'h', 3: 'w'}})
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        path = str(Path(folder) / 'attention.onnx')
        torch.onnx.export(module, (example,), path, **names, **options)
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((14, 21), (33, 20), (2, 6)):
        x = torch.randn(2, in_channels, *size)
        (out,) = session.run(None, {'x': x.numpy()})
        torch.testing.assert_close(torch.from_numpy(out), module(x), atol=1e-4, rtol=1e-3)


def _dynamic(least: int) -> dict[int, Any]:
    return {2: torch.export.Dim('h', min=least), 3: torch.export.Dim('w', min=least)}


CHECKS: tuple[Callable[..., None], ...] = tuple(
    check
    for name, check in list(globals().items())
    if name.startswith('check_') and check is not check_attention
)
