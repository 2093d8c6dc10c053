"""How a kernel is made: one meaning, several implementations, exact gradients.

A primitive has a ``reference``, plain PyTorch that autograd, torch.compile, export and jit
see through, and a ``backward``, its gradient written out, which needs only the inputs (and
what ``reference`` hands on for it). Both become operators ``mmattn::NAME`` and
``mmattn::NAME_backward``; C++ and Triton implement operators of the same names and arguments.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from mmattn.kernels import choice

LIBRARY = torch.library.Library('mmattn', 'FRAGMENT')

if hasattr(torch.compiler, 'is_compiling'):
    is_compiling = torch.compiler.is_compiling
else:  # torch 2.1
    from torch._dynamo.external_utils import is_compiling


# Called in front of every map, where a look-up through several modules takes its time too.
_is_tracing, _in_functorch = torch._C._is_tracing, torch._C._are_functorch_transforms_active
_autocasts = torch.is_autocast_enabled if choice.CAN_REGISTER else lambda device: True
_NOTHING = nullcontext()


def _watched() -> bool:
    """Whether something watches operators, such as a FakeTensorMode or a counter of operations."""
    return choice.CAN_REGISTER and torch._C._len_torch_dispatch_stack() > 0


# All of them, by name.
PRIMITIVES: dict[str, 'Primitive'] = {}


class Primitive:
    """A function of a map with its gradient.

    Args:
        schema: ``NAME(Tensor x, ...) -> Tensor`` or ``-> (Tensor, ...)``, no defaults.
        reference: The function in differentiable PyTorch. Where it returns more than
            ``outputs`` tensors, the others are kept for ``backward``.
        backward: (gradients of the outputs, inputs, what was kept) -> the gradient of every
            Tensor input in order, for one that is None an empty tensor.
        fake: (inputs) -> outputs without values; default ``reference`` itself.
        outputs: How many tensors of those that ``reference`` returns are its result.
        forward: ``reference`` where nothing is to be derived, in less memory; default itself.
    """

    def __init__(
        self,
        schema: str,
        reference: Callable,
        backward: Callable,
        fake: Callable | None = None,
        outputs: int = 1,
        forward: Callable | None = None,
    ) -> None:
        self.name, arguments = schema.split(' -> ')[0].rstrip(')').split('(')
        PRIMITIVES[self.name] = self
        self.file = reference.__module__.rsplit('.', 1)[1]
        self.reference = reference
        self.pure_forward = forward or reference
        self.pure_backward = backward
        self.outputs = outputs
        kinds = [argument.split()[0] for argument in arguments.split(', ')]
        # Of each input, whether it is a tensor (or None in its place).
        self.is_tensor = [kind in ('Tensor', 'Tensor?') for kind in kinds]
        self.tensors = [i for i, is_tensor in enumerate(self.is_tensor) if is_tensor]
        self.others = [i for i, is_tensor in enumerate(self.is_tensor) if not is_tensor]
        results = schema.split(' -> ')[1]
        kept = results.count('Tensor') - outputs
        grads = ', '.join(f'Tensor grad_{i}' for i in range(outputs))
        kept_arguments = ''.join(f', Tensor kept_{i}' for i in range(kept))
        gradients = ', '.join('Tensor' for is_tensor in self.is_tensor if is_tensor)
        self._apply = _function(self).apply
        if not choice.CAN_REGISTER:
            return
        self._operator = self._define(schema, self._forward, fake or reference)
        torch.library.register_autograd(
            f'mmattn::{self.name}', self._backward, setup_context=self._setup, lib=LIBRARY
        )
        self._backward_operator = self._define(
            f'{self.name}_backward({grads}, {arguments}{kept_arguments}) -> ({gradients})',
            self._run_backward,
            self._fake_backward,
        )

    def __call__(self, *inputs: Any) -> Tensor | tuple[Tensor, ...]:
        """The result; by the reference itself where something has to see through it."""
        if seen_through(inputs[0]):
            results = self.reference(*inputs)
        elif _watched():
            results = self._operator(*inputs)  # what watches operators is to see this one
        elif torch.is_grad_enabled():
            results = self._apply(*inputs)  # the operator does the same in thrice the time
        else:
            results = self._forward(*inputs)
        if isinstance(results, Tensor):
            return results
        return results[0] if self.outputs == 1 else results[: self.outputs]

    def _define(self, schema: str, run: Callable, fake: Callable) -> Callable:
        name = schema.split('(')[0]
        LIBRARY.define(schema)
        LIBRARY.impl(name, run, 'CompositeExplicitAutograd')
        torch.library.register_fake(f'mmattn::{name}', fake, lib=LIBRARY)
        return getattr(torch.ops.mmattn, name).default

    def _forward(self, *inputs: Any) -> Tensor | tuple[Tensor, ...]:
        way = choice.implementation(inputs[0])
        return (choice.found(way, self.file, self.name) or self.pure_forward)(*inputs)

    def _run_backward(self, *arguments: Any) -> Tensor | tuple[Tensor, ...]:
        way = choice.implementation(arguments[0])
        found = choice.found(way, self.file, f'{self.name}_backward')
        return _one_or_all((found or self.pure_backward)(*arguments))

    def _fake_backward(self, *arguments: Any) -> Tensor | tuple[Tensor, ...]:
        inputs = arguments[self.outputs : self.outputs + len(self.is_tensor)]
        tensors = [x for x, is_tensor in zip(inputs, self.is_tensor, strict=True) if is_tensor]
        like = arguments[0]
        out = [like.new_empty(0) if x is None else torch.empty_like(x) for x in tensors]
        return _one_or_all(tuple(out))

    def _setup(self, ctx: Any, inputs: Sequence, output: Any) -> None:
        kept = () if isinstance(output, Tensor) else output[self.outputs :]
        if kept:
            ctx.mark_non_differentiable(*kept)
        ctx.save_for_backward(*[inputs[i] for i in self.tensors], *kept)
        ctx.others = [inputs[i] for i in self.others]

    def _backward(self, ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved, inputs = ctx.saved_tensors, [None] * len(self.is_tensor)
        for i, x in zip(self.tensors, saved):  # noqa: B905 (what was kept follows)
            inputs[i] = x
        for i, x in zip(self.others, ctx.others, strict=True):
            inputs[i] = x
        grads, needed = grads[: self.outputs], ctx.needs_input_grad
        if torch.is_grad_enabled():
            return self._differentiable_backward(inputs, grads, needed)
        run = self._backward_operator if _watched() else self._run_backward
        found = run(*grads, *inputs, *saved[len(self.tensors) :])
        out = [None] * len(inputs)
        for i, gradient in zip(self.tensors, _all(found), strict=True):
            if needed[i]:
                out[i] = gradient
        return tuple(out)

    def _differentiable_backward(
        self, inputs: list, grads: Sequence[Tensor], needed: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """For create_graph=True: through the reference, which can be derived once more."""
        # Aliases: one input may have been computed from another, which is not part of this.
        inputs = [x.view_as(x) if isinstance(x, Tensor) else x for x in inputs]
        results = _all(self.reference(*inputs))[: self.outputs]
        wanted = [x for x, need in zip(inputs, needed, strict=True) if need]
        gradients = iter(
            torch.autograd.grad(results, wanted, grads, create_graph=True, allow_unused=True)
        )
        return tuple(next(gradients) if need else None for need in needed)


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a map lie side by side, and not its columns."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def laid_out_like(x: Tensor, like: Tensor) -> Tensor:
    """A map with its channels last if those of ``like`` are; to mix both takes twice as long."""
    return x.contiguous(memory_format=torch.channels_last) if is_channels_last(like) else x


def no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Within it nothing widens a map of 16 bits; of any device that ``x`` may be on."""
    # meta tensors know no autocast
    device = 'cpu' if x.is_meta else x.device.type
    if not is_compiling() and not _autocasts(device):
        return _NOTHING
    return torch.autocast(device, enabled=False)


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x.to(dtype)``; a call that changes nothing takes its time too, in front of every map."""
    return x if x.dtype == dtype else x.to(dtype)


def wide_dtype(x: Tensor) -> torch.dtype:
    """What sums are taken in; not torch.promote_types, which torch 2.1 cannot compile."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _all(results: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else results


def _one_or_all(results: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """An operator of one result returns it bare."""
    return results[0] if isinstance(results, tuple) and len(results) == 1 else results


def seen_through(x: Tensor) -> bool:
    """Whether a map is no plain tensor with values: in torch.compile, export, jit, functorch."""
    return (
        is_compiling()
        or type(x) not in (Tensor, Parameter)
        or x.is_meta
        or _is_tracing()
        or _in_functorch()
        or forward_ad._current_level >= 0
    )


def runs_pure(x: Tensor) -> bool:
    """Whether nothing but PyTorch runs on a map, which then has formulas of its own."""
    return seen_through(x) or choice.implementation(x) == choice.PURE


def _function(primitive: Primitive) -> type[torch.autograd.Function]:
    """The same as ``register_autograd`` makes, for a torch that has not got it."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            output = primitive._forward(*inputs)
            primitive._setup(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx, *grads):
            return primitive._backward(ctx, *grads)

    return Function
