"""Looking at gradients before they are applied, and leaving the step out if they are not finite."""

import math
from collections.abc import Mapping
from functools import wraps

import torch
from mmengine.dist import all_reduce
from mmengine.optim import ApexOptimWrapper, OptimWrapper
from torch import Tensor, nn


class Statistics:
    """Those of a model's normalisation layers in training mode, as they were before a step."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = [m for m in model.modules() if hasattr(m, 'running_mean')]
        # Floats and counters, each copied by one call.
        self._live: list[list[Tensor]] = [[], []]
        self._kept: list[list[Tensor]] = [[], []]

    def keep(self) -> None:
        names = ('running_mean', 'running_var'), ('num_batches_tracked',)
        layers = [layer for layer in self._layers if layer.training]
        live = [[getattr(m, name, None) for m in layers for name in these] for these in names]
        live = [[s for s in these if s is not None] for these in live]
        for place, (old, new) in enumerate(zip(self._live, live, strict=True)):
            if [id(s) for s in old] != [id(s) for s in new]:
                self._kept[place] = [torch.empty_like(s) for s in new]
            if new:
                torch._foreach_copy_(self._kept[place], new)
        self._live = live

    def put_back(self) -> None:
        for live, kept in zip(self._live, self._kept, strict=True):
            if live:
                torch._foreach_copy_(live, kept)

    def sound(self, like: Tensor) -> Tensor:
        """A 0 of the dtype and device of ``like``, or NaN if a statistic is not finite."""
        if not self._live[0]:
            return like.new_zeros(())
        together = torch.cat([s.to(like.device) for s in self._live[0]])
        return (together * 0).sum().to(like.dtype)


class StepGuard:
    """What stands between an optimizer and gradients that are not finite.

    It takes the place of the wrapper's ``backward`` and ``step``. A loss or a statistic that is
    not finite makes the gradients NaN, and with them those of all ranks.

    Args:
        wrapper: Of one optimizer.
        names: Of the model's weights.
        statistics: Of the model.
        sharded: Each rank has only a part of each gradient, and has to ask the others.

    Attributes:
        scales: The wrapper leaves out steps itself, and finds a loss scale in that way.
    """

    def __init__(
        self,
        wrapper: OptimWrapper,
        names: Mapping[Tensor, str],
        statistics: Statistics,
        sharded: bool = False,
    ) -> None:
        self.wrapper = wrapper
        self._names, self._statistics, self._sharded = names, statistics, sharded
        # Of each step of this iteration: its weights, and which gradients, and whether all, are
        # finite. A GPU may still have to fill these.
        self._steps: list[tuple[list[Tensor], Tensor, Tensor]] = []
        self._on_gpu = False
        scaler = getattr(wrapper, 'loss_scaler', None)
        scales = scaler is not None and scaler.is_enabled()
        self.scales = scales or isinstance(wrapper, ApexOptimWrapper)
        self._backward, self._step = wrapper.backward, wrapper.step
        # Marks that schedulers have left on them stay.
        wrapper.backward = wraps(self._backward)(lambda loss, **kw: self.backward(loss, **kw))
        wrapper.step = wraps(self._step)(lambda **kw: self.step(**kw))

    def backward(self, loss: Tensor, **kwargs) -> None:
        self._backward(self.marked(loss), **kwargs)

    def marked(self, loss: Tensor) -> Tensor:
        """The loss times 1, or times NaN if it or a statistic is not finite."""
        with torch.no_grad():
            sound = 1 + (loss.detach() * 0).sum() + self._statistics.sound(loss)
        return loss * sound

    def step(self, **kwargs) -> None:
        optimizer = self.wrapper.optimizer
        weights = [weight for group in optimizer.param_groups for weight in group['params']]
        weights = [weight for weight in weights if weight.grad is not None]
        if not weights:
            return self._step(**kwargs)
        gradients = [_values(weight) for weight in weights]
        each, finite = self.look(gradients)
        if not self._on_gpu:
            self._steps.append((weights, each, finite))
            return self._step(**kwargs) if self.scales or finite else None
        # The host goes on; it reads these once the device has come so far.
        known = (tensor.to('cpu', non_blocking=True) for tensor in (each, finite))
        self._steps.append((weights, *known))
        if self.scales:
            return self._step(**kwargs)
        if not getattr(optimizer, '_step_supports_amp_scaling', False):
            for gradient in gradients:
                gradient.masked_fill_(~finite, 0)
            return self._step(**kwargs)
        optimizer.grad_scale, optimizer.found_inf = None, (~finite).float()
        try:
            return self._step(**kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    @torch.no_grad()
    def look(self, gradients: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Which gradients are finite, and whether all are, on their device."""
        # On a CPU only the 2-norm is fast; that of finite gradients may overflow.
        self._on_gpu = _runs_behind(gradients[0])
        norms = torch._foreach_norm(gradients, math.inf if self._on_gpu else 2)
        each = torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite()
        if not self._on_gpu and not each.all():
            each = torch.stack([gradient.isfinite().all() for gradient in gradients])
        finite = each.all()
        if self._sharded:
            agreed = finite.float()
            all_reduce(agreed, 'min')
            finite = agreed.bool()
        return each, finite

    def forget(self) -> None:
        """An iteration begins."""
        self._steps.clear()

    def outcome(self) -> bool | None:
        """Whether all gradients of this iteration's steps were finite; None without a step."""
        if not self._steps:
            return None
        if self._on_gpu:
            _catch_up()
        return all(bool(finite) for _, _, finite in self._steps)

    def non_finite(self) -> list[str]:
        """The weights whose gradients were not finite in this iteration."""
        self.outcome()
        known = (zip(w, each.tolist(), strict=True) for w, each, _ in self._steps)
        bad = (weight for step in known for weight, finite in step if not finite)
        return list(dict.fromkeys(self._names.get(weight, 'a weight') for weight in bad))


def _runs_behind(tensor: Tensor) -> bool:
    """Whether the host would have to wait for a tensor's numbers."""
    return tensor.is_cuda


def _catch_up() -> None:
    # mmengine has just fetched the losses: nothing is left to wait for.
    torch.cuda.current_stream().synchronize()


def _values(weight: Tensor) -> Tensor:
    """The numbers of a weight's gradient; one that is sparse keeps each of them once."""
    if not weight.grad.is_sparse:
        return weight.grad
    weight.grad = weight.grad.coalesce()
    return weight.grad._values()
