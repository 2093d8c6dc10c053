"""The contract of every primitive: one meaning, whatever implementation runs.

'fused' is C++, or Triton under TRITON_INTERPRET=1; where there is neither, what compares the
two is skipped.
"""

import pytest
import torch
from torch import Tensor

from mmattn import kernels
from mmattn.kernels import choice
from mmattn.kernels.primitive import PRIMITIVES
from mmattn.utils.torch_version import NEW_TORCH
from tests.test_kernels.examples import EXAMPLES

FUSED = choice.implementation(torch.empty(0)) != choice.PURE
INTERPRETED = choice.INTERPRETED and FUSED
needs_fused = pytest.mark.skipif(
    not FUSED, reason=f'pure PyTorch alone runs here: {choice.why_no_cpp() or "MMATTN_KERNELS"}'
)
needs_operators = pytest.mark.skipif(
    not choice.CAN_REGISTER, reason='torch < 2.4 has no torch.library.register_autograd'
)
each_case = pytest.mark.parametrize('case', EXAMPLES)
MODES = ['pure', pytest.param('auto', marks=needs_fused, id='fused')]
SIZES = [
    *((2, 3, 1, 1), (2, 5, 1, 7), (3, 4, 7, 1), (2, 16, 7, 7), (1, 17, 14, 14), (2, 7, 17, 33)),
    *((1, 64, 28, 28), (5, 1, 9, 20), (1, 33, 31, 65), (1, 2, 300, 500)),
]
if INTERPRETED:
    SIZES = [shape for shape in SIZES if shape[2] < 40]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def primitive_of(case):
    return PRIMITIVES[case.split()[0]]


def as_tuple(results):
    return (results,) if isinstance(results, Tensor) else tuple(results)


def is_float(x):
    return isinstance(x, Tensor) and x.is_floating_point()


def run(case, inputs, mode='auto', grads=None):
    """The results, and the gradients of all tensors among the inputs."""
    leaves = [x.detach().requires_grad_() if is_float(x) else x for x in inputs]
    with kernels.using(mode):
        results = as_tuple(primitive_of(case)(*leaves))
        if grads is None:
            grads = some_like(results)
        gradients = torch.autograd.grad(results, [x for x in leaves if is_float(x)], grads)
    return [out.detach() for out in results], list(gradients)


def some_like(results):
    """The same for results of the same shapes, contiguous whatever those are."""
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype)
        for out in results
    ]


def error(actual, expected):
    """Relative, in the Euclidean norm."""
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    off, size = (actual.double() - expected).norm().item(), expected.double().norm().item()
    # Behind a norm a gradient may be 0 but for rounding.
    return off / max(size, 0.1)


def assert_equal_to(actual, pure, exact, outputs=1e-6, gradients=1e-5):
    """``actual`` is as near to float64's numbers as float32 is, or as the pure way comes.

    What cancels, such as the gradient of a weight behind a norm, is as far off for both.
    """
    found = zip(actual, pure, exact, (outputs, gradients), strict=True)
    for ours, theirs, truth, tolerance in found:
        for number, (a, b, c) in enumerate(zip(ours, theirs, truth, strict=True)):
            assert a.dtype == b.dtype
            limit = max(tolerance, 4 * error(b, c))
            assert error(a, c) < limit, f'number {number}: {error(a, c):.2g}, limit {limit:.2g}'


def expectation(case, inputs, grads=None):
    """What :func:`assert_equal_to` compares with: the pure way in float32 and in float64."""
    pure = run(case, inputs, 'pure', grads)
    exact = [x.double() if is_float(x) else x for x in inputs]
    return pure, run(case, exact, 'pure', [grad.double() for grad in grads or some_like(pure[0])])


def test_every_primitive_has_an_example():
    assert {case.split()[0] for case in EXAMPLES} == set(PRIMITIVES)


@needs_fused
@pytest.mark.parametrize('name', PRIMITIVES)
def test_every_primitive_is_fused(name):
    primitive = PRIMITIVES[name]
    way = choice.implementation(torch.empty(0))
    for operator in (name, f'{name}_backward'):
        assert choice.found(way, primitive.file, operator), f'{way} has no {operator}'


@needs_operators
@pytest.mark.parametrize('mode', MODES)
@each_case
def test_operators(case, mode):
    """What torch asks of an operator: schema, fake kernel, autograd, tracing."""
    primitive = primitive_of(case)
    forward = getattr(torch.ops.mmattn, primitive.name).default
    backward = getattr(torch.ops.mmattn, f'{primitive.name}_backward').default
    inputs = EXAMPLES[case]((2, 4, 3, 5), torch.float32)
    leaves = [x.clone().requires_grad_() if is_float(x) else x for x in inputs]
    # Tracing is the same for both.
    checks = ['test_schema', 'test_faketensor']
    if mode == 'pure':
        checks += ['test_autograd_registration', 'test_aot_dispatch_dynamic']
    with kernels.using(mode):
        torch.library.opcheck(forward, leaves, test_utils=checks)
        results = as_tuple(forward(*inputs))
        outputs, kept = results[: primitive.outputs], results[primitive.outputs :]
        torch.library.opcheck(backward, (*some_like(outputs), *inputs, *kept), test_utils=checks)


@pytest.mark.parametrize('mode', MODES)
@each_case
def test_gradients(case, mode):
    inputs = EXAMPLES[case]((2, 4, 3, 2), torch.float64)
    leaves = [x.requires_grad_() if is_float(x) else x for x in inputs]
    with kernels.using(mode):
        assert torch.autograd.gradcheck(primitive_of(case), leaves)
        # By the reference in either mode: random directions instead of every element.
        assert torch.autograd.gradgradcheck(primitive_of(case), leaves, fast_mode=True)


@needs_fused
@pytest.mark.parametrize('channels_last', [False, True], ids=['nchw', 'channels_last'])
@pytest.mark.parametrize('shape', SIZES, ids=str)
@each_case
def test_fused_equals_pure(case, shape, channels_last):
    inputs = EXAMPLES[case](shape, torch.float32)
    expected = expectation(case, inputs)
    if channels_last:
        inputs = with_map(inputs, inputs[0].to(memory_format=torch.channels_last))
    assert_equal_to(run(case, inputs), *expected)


def with_map(inputs, x):
    return x, *inputs[1:]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
@each_case
def test_sixteen_bits(case, dtype, mode):
    """As near to the exact result as a few roundings are; float16 on a CPU takes the pure way."""
    if dtype == torch.float16 and not NEW_TORCH:
        pytest.skip('this torch has no float16 layers on a CPU')
    inputs = EXAMPLES[case]((2, 7, 17, 33), dtype)
    exact = run(case, [x.double() if is_float(x) else x for x in inputs], 'pure')
    results, gradients = run(case, inputs, mode)
    tensors = [x for x in inputs if is_float(x)]
    assert all(out.dtype == dtype for out in results)
    assert [g.dtype for g in gradients] == [x.dtype for x in tensors]
    tolerance = 4 * torch.finfo(dtype).eps
    for actual, expected in zip(results + gradients, exact[0] + exact[1], strict=True):
        assert error(actual, expected) < tolerance


@pytest.mark.parametrize('mode', MODES)
@each_case
def test_memory_formats(case, mode):
    """The same numbers, and what has the shape of the map comes out in its format."""
    inputs = EXAMPLES[case]((2, 6, 9, 14), torch.float32)
    expected = run(case, inputs, mode)
    last = inputs[0].to(memory_format=torch.channels_last)
    results, gradients = run(case, with_map(inputs, last), mode)
    assert_equal_to((results, gradients), *expectation(case, inputs))
    # A gradient may take another format by the pure way.
    maps = results + gradients[:1] if mode == 'auto' else results
    for out in maps:
        if out.shape == last.shape:
            assert out.is_contiguous(memory_format=torch.channels_last)
    for out in expected[0] + expected[1][:1]:
        assert out.is_contiguous()


def strided(x):
    return torch.stack([x, x + 1], -1)[..., 0]


def transposed(x):
    return x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.dim() > 1 else x


def sliced(x):
    """A part of the channels of a larger map, as in torch.chunk."""
    return torch.cat([x + 1, x, x - 1], 1)[:, x.shape[1] : -x.shape[1]] if x.dim() > 1 else x


def sliced_channels_last(x):
    if x.dim() < 4:
        return sliced(x)
    whole = torch.cat([x + 1, x], 1).to(memory_format=torch.channels_last)
    return whole[:, x.shape[1] :]


@pytest.mark.parametrize('change', [strided, transposed, sliced, sliced_channels_last])
@pytest.mark.parametrize('mode', MODES)
@each_case
def test_inputs_that_are_not_contiguous(case, mode, change):
    inputs = EXAMPLES[case]((2, 6, 5, 7), torch.float32)
    changed = [change(x) if is_float(x) else x for x in inputs]
    expected = expectation(case, inputs)
    grads = [change(grad) for grad in some_like(expected[0][0])]
    assert_equal_to(run(case, changed, mode, grads), *expected)


@pytest.mark.parametrize('mode', MODES)
@each_case
def test_expanded_inputs_and_gradients(case, mode):
    """``out.sum().backward()`` brings one value that has the shape of the result."""
    inputs = list(EXAMPLES[case]((3, 4, 5, 7), torch.float32))
    inputs[0] = inputs[0][:1].expand(3, -1, -1, -1)
    ones = [torch.ones(out.shape) for out in run(case, inputs, 'pure')[0]]
    expected = expectation(case, [x.clone() if is_float(x) else x for x in inputs], ones)
    one = [torch.ones(()).expand(grad.shape) for grad in ones]
    assert_equal_to(run(case, inputs, mode, one), *expected)


@pytest.mark.parametrize('mode', MODES)
@each_case
def test_empty_batch(case, mode):
    inputs = EXAMPLES[case]((0, 4, 5, 6), torch.float32)
    results, gradients = run(case, inputs, mode)
    expected = primitive_of(case).reference(*inputs)
    for out, like in zip(results, as_tuple(expected), strict=False):
        assert out.shape == like.shape
    for gradient, x in zip(gradients, filter(is_float, inputs), strict=True):
        assert gradient.shape == x.shape
        assert not gradient.any()


@pytest.mark.parametrize('mode', MODES)
@each_case
def test_one_input_that_needs_a_gradient(case, mode):
    """Frozen parameters, a map without a gradient: the others get the same."""
    inputs = EXAMPLES[case]((2, 4, 5, 7), torch.float32)
    gradients = iter(run(case, inputs, mode)[1])
    for i, x in enumerate(inputs):
        if not is_float(x):
            continue
        leaf = x.clone().requires_grad_()
        with kernels.using(mode):
            results = as_tuple(primitive_of(case)(*inputs[:i], leaf, *inputs[i + 1 :]))
            (gradient,) = torch.autograd.grad(results, leaf, some_like(results))
        assert torch.equal(gradient, next(gradients))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('name', [n for n, p in PRIMITIVES.items() if p.outputs > 1])
def test_one_result_that_is_used(name, mode):
    case = next(case for case in EXAMPLES if case.split()[0] == name)
    inputs = EXAMPLES[case]((2, 4, 5, 7), torch.float32)
    everything = some_like(run(case, inputs, mode)[0])
    for i in range(len(everything)):
        grads = [grad * (i == j) for j, grad in enumerate(everything)]
        leaves = [x.clone().requires_grad_() if is_float(x) else x for x in inputs]
        with kernels.using(mode):
            out = as_tuple(primitive_of(case)(*leaves))[i]
            alone = torch.autograd.grad(out, [x for x in leaves if is_float(x)], everything[i])
        for a, b in zip(alone, run(case, inputs, mode, grads)[1], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize('channels_last', [False, True], ids=['nchw', 'channels_last'])
@pytest.mark.parametrize('mode', MODES)
@each_case
def test_threads_and_runs(case, mode, channels_last):
    """The same bits from run to run, the same numbers with any number of threads."""
    inputs = EXAMPLES[case]((3, 16, 14, 15), torch.float32)
    if channels_last:
        inputs = with_map(inputs, inputs[0].to(memory_format=torch.channels_last))
    before = torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            runs.append(run(case, inputs, mode))
            again = run(case, inputs, mode)
            for a, b in zip(sum(runs[-1], []), sum(again, []), strict=True):
                assert torch.equal(a, b)
    finally:
        torch.set_num_threads(before)
    exact = expectation(case, inputs)[1]
    for other in runs[1:]:
        assert_equal_to(other, runs[0], exact, 1e-6, 1e-6)


@pytest.mark.skipif(not torch._dynamo.is_dynamo_supported(), reason='this Python has no dynamo')
@needs_operators
@pytest.mark.parametrize('mode', MODES)
@each_case
def test_compile(case, mode):
    """As one graph, with the gradients; its backend here needs no compiler."""
    torch._dynamo.reset()
    inputs = EXAMPLES[case]((2, 4, 5, 7), torch.float32)
    compiled = torch.compile(primitive_of(case), fullgraph=True, backend='aot_eager')
    expected = expectation(case, inputs)
    leaves = [x.clone().requires_grad_() if is_float(x) else x for x in inputs]
    with kernels.using(mode):
        results = as_tuple(compiled(*leaves))
        floats = [x for x in leaves if is_float(x)]
        gradients = torch.autograd.grad(results, floats, some_like(results))
    assert_equal_to((results, gradients), *expected)


@needs_operators
@each_case
def test_export(case):
    """What is exported holds no operator of ours: it runs where mmattn is not."""

    class Network(torch.nn.Module):
        def forward(self, *tensors):
            given = iter(tensors)
            filled = [next(given) if isinstance(x, Tensor) else x for x in inputs]
            return primitive_of(case)(*filled)

    inputs = EXAMPLES[case]((2, 4, 5, 7), torch.float32)
    tensors = tuple(x for x in inputs if isinstance(x, Tensor))
    program = torch.export.export(Network(), tensors)
    assert 'mmattn' not in program.graph_module.code
    expected = as_tuple(primitive_of(case)(*inputs))
    for a, b in zip(as_tuple(program.module()(*tensors)), expected, strict=True):
        torch.testing.assert_close(a, b)


@each_case
def test_meta(case):
    """Shapes without values, for counting and for dry runs."""
    inputs = EXAMPLES[case]((2, 4, 5, 7), torch.float32)
    on_meta = [x.to('meta') if isinstance(x, Tensor) else x for x in inputs]
    results = as_tuple(primitive_of(case)(*on_meta))
    expected = as_tuple(primitive_of(case)(*inputs))
    assert [(x.shape, x.dtype) for x in results] == [(x.shape, x.dtype) for x in expected]
