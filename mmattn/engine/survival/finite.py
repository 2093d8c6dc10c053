"""Numbers that stay finite: no non-finite gradient is applied, and what it touched is put back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmattn.engine.distributed import on_first
from mmattn.engine.resume import first_sound
from mmattn.engine.survival.options import Survival
from mmattn.engine.survival.origin import files_of, find_origin
from mmattn.engine.survival.random_state import kept_random_state, random_state, set_random_state
from mmattn.engine.survival.step_guard import Statistics, StepGuard
from mmattn.registry import HOOKS
from mmattn.utils.errors import InvalidValue, UserError

# With loss scaling the scaler leaves out a step whose gradients overflow, and lowers the scale.
AMP_PATIENCE = 20
# Of the message hub, and so in every checkpoint: what the run went back from.
ROLLBACKS = 'rollbacks'


class RollBack(Exception):
    """The training goes on from an earlier checkpoint; raised on all ranks alike.

    Args:
        checkpoint: Its path.
    """

    def __init__(self, checkpoint: str) -> None:
        super().__init__(checkpoint)
        self.checkpoint = checkpoint


@dataclass
class _Passed:
    """An iteration whose gradients the next step applies.

    Preprocessing changes some samples for good, so that the last batch is kept as it is after.
    """

    iteration: int
    batch: Any
    random: dict
    data: Any = None
    random_after: dict | None = None


@dataclass
class _Report:
    """What a rank knows of the iterations whose gradients were not finite."""

    losses: list[str]
    files: list[str]
    origin: str | None = None


@HOOKS.register_module(name=['FiniteHook', 'NonFiniteLossHook'])
class FiniteHook(Hook):
    """Apply no non-finite gradient, save no non-finite weight, and stop or go back.

    A loss or a BatchNorm statistic that is not finite makes the gradients NaN, so that
    DistributedDataParallel brings it to all ranks alike without a word more between them. Before
    each step one pass over the gradients finds it. On a CPU the step is left out. On a GPU,
    which the host does not wait for, a fused optimizer leaves it out on the device, and any
    other is given gradients of zero. A loss scaler leaves it out itself, and so does Apex.
    The host reads the outcome after the iteration, when mmengine has fetched the losses, and
    puts back the statistics of the normalisation layers before another hook has used them.

    Then ``survival.on_non_finite`` of the config decides: 'stop' with the files of the batch and
    the layer where it began, or 'rollback' to the last checkpoint, from where these iterations
    are passed over without a step (before the first checkpoint: from here), at most
    ``survival.max_rollbacks`` times. Schedulers count a passed iteration like any other.

    With several optimizers (OptimWrapperDict) each step is looked at by itself: those whose
    gradients were finite have been taken.

    Args:
        patience: Steps in a row that are left out before anything follows; None for 20 with
            loss scaling, where a few are normal, and none without.
    """

    # After mmengine's RuntimeInfoHook, which fetches losses; before EMAHook and those that save.
    priority = 'ABOVE_NORMAL'

    def __init__(self, patience: int | None = None) -> None:
        if patience is not None and patience < 0:
            raise InvalidValue(f'patience={patience} must be 0 or more')
        self.patience = patience
        self._in_a_row = 0
        self._where = 'the beginning'
        self._guards: list[StepGuard] = []
        self._window: list[_Passed] = []

    def before_train(self, runner: Runner) -> None:
        self._in_a_row = 0
        self._window.clear()
        if self._guards:  # The run went back.
            return
        self._began_from = [runner._load_from] if runner._resume else []
        self._options = getattr(runner, 'survival', None) or Survival()
        loop = type(runner.train_loop).__name__
        if self._options.on_non_finite == 'rollback' and not hasattr(runner.train_loop, 'go_to'):
            raise UserError(
                f"survival.on_non_finite='rollback' needs one of mmengine's own training loops, "
                f"but train_cfg.type is {loop!r}; with it there is 'stop'."
            )
        wrapped = is_model_wrapper(runner.model)
        self._model = runner.model.module if wrapped else runner.model
        self._statistics = Statistics(self._model)
        several = isinstance(runner.optim_wrapper, OptimWrapperDict)
        names = {weight: name for name, weight in self._model.named_parameters()}
        # Such as FSDP.
        sharded = wrapped and not isinstance(runner.model, DistributedDataParallel)
        self._guards = [
            StepGuard(wrapper, names, self._statistics, sharded)
            for wrapper in (runner.optim_wrapper.values() if several else [runner.optim_wrapper])
        ]
        if self.patience is None:
            scales = any(guard.scales for guard in self._guards)
            self.patience = AMP_PATIENCE if scales else 0
        train_step = runner.model.train_step

        def train_or_pass(data: Any, optim_wrapper: Any) -> dict:
            if runner.iter not in self._to_pass(runner):
                return train_step(data, optim_wrapper=optim_wrapper)
            for guard in self._guards:
                guard.wrapper._inner_count += 1
                if guard.wrapper.should_update():  # of a sum of which one is missing, too
                    guard.wrapper.zero_grad()
            return {}

        runner.model.train_step = train_or_pass
        if runner.cfg.get('compile'):  # The step as well, and it knows hooks only in part.
            for guard in self._guards:
                for name in ('backward', 'step'):
                    function = getattr(guard.wrapper, name)
                    setattr(guard.wrapper, name, torch.compiler.disable(function))
        elif isinstance(self._model, BaseModel):
            self._model.data_preprocessor.register_forward_hook(self._keep_data)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._where = f'iteration {runner.iter + 1}, epoch {runner.epoch + 1}'
        for guard in self._guards:
            guard.forget()
        if not self._window or all(guard.wrapper.should_update() for guard in self._guards):
            self._window.clear()
            self._statistics.keep()
        self._window.append(_Passed(runner.iter, data_batch, random_state()))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        outcomes = [guard.outcome() for guard in self._guards]
        if False in outcomes:
            self._statistics.put_back()
            self._in_a_row += 1
            if self._in_a_row > self.patience:
                self._decide(runner, outputs or {})
        elif True in outcomes:
            self._in_a_row = 0
        # On a GPU it is memory.
        self._window[-1].data = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # A finite gradient times the learning rate may ruin them too.
        finite = [weight.detach().isfinite().all() for weight in runner.model.parameters()]
        if not torch.stack(finite).all():
            raise _stopped(runner, f'non-finite weights in {self._where}')

    def _keep_data(self, preprocessor: nn.Module, _: Any, data: Any) -> None:
        if preprocessor.training and self._window and self._window[-1].data is None:
            self._window[-1].data, self._window[-1].random_after = data, random_state()

    def _decide(self, runner: Runner, outputs: dict) -> None:
        """Stop, go back, or pass on; with the same words on all ranks."""
        reports = all_gather_object(self._report(runner, outputs))
        faulty = [report for report in reports if report.losses or report.origin] or reports
        files = list(dict.fromkeys(file for report in faulty for file in report.files))
        rank = f', on rank {reports.index(faulty[0])}' if len(reports) > 1 else ''
        losses = next((report.losses for report in reports if report.losses), [])
        what = f'non-finite loss ({", ".join(losses)})' if losses else 'non-finite gradient'
        what += f' in {self._where}'
        weights = [name for guard in self._guards for name in guard.non_finite()]
        origin = faulty[0].origin or (
            f'the gradients of {_some(weights, 3)}, which a second pass does not repeat'
        )
        files_shown = _some(files, 8) or 'its data samples name no files'
        began = f'It began in {origin}{rank}. Batch: {files_shown}. '
        done = list(runner.message_hub.runtime_info.get(ROLLBACKS, []))
        options = self._options
        if options.on_non_finite == 'stop' or len(done) >= options.max_rollbacks:
            times = 'once' if len(done) == 1 else f'{len(done)} times'
            began += f'The run had gone back {times} before. ' if done else ''
            raise _stopped(runner, what, began)
        iterations = [passed.iteration for passed in self._window]
        done.append(dict(iterations=iterations, files=files, reason=f'{what}. {began}'.strip()))
        runner.message_hub.update_info(ROLLBACKS, done)
        # Others in the work dir may be of an earlier run.
        path = on_first(partial(first_sound, [*reversed(runner.saved), *self._began_from]))
        back = f'from {path}' if path else 'from here, as there is no checkpoint'
        runner.logger.warning(
            f'{what}. {began}Rollback {len(done)} of at most {options.max_rollbacks}: the run '
            f'goes on {back}, without this batch.'
        )
        self._in_a_row = 0
        if path is not None:
            raise RollBack(path)

    def _report(self, runner: Runner, outputs: dict) -> _Report:
        """What this rank saw; the batches go through the model once more."""
        fetched = runner.message_hub.log_scalars
        losses = {name: fetched[f'train/{name}'].current() for name in outputs if 'loss' in name}
        words = [f'{name}={value}' for name, value in losses.items() if not math.isfinite(value)]
        files = [files_of(passed.batch) for passed in self._window]
        report = _Report(words, sum(files, []))
        window = zip(self._window, files, strict=True)
        with kept_random_state():
            for passed, names in window if isinstance(self._model, BaseModel) else ():
                again = passed.data is None
                set_random_state(passed.random if again else passed.random_after)
                data = passed.batch if again else passed.data
                origin = find_origin(self._model, data, runner.optim_wrapper, preprocess=again)
                if origin is not None:
                    at_fault = [names[place] for place in origin.samples if place < len(names)]
                    report = _Report(words, at_fault or names, origin.words)
                    break
        self._statistics.put_back()
        return report

    def _to_pass(self, runner: Runner) -> list[int]:
        rollbacks = runner.message_hub.runtime_info.get(ROLLBACKS, [])
        return [iteration for rollback in rollbacks for iteration in rollback['iterations']]


def _stopped(runner: Runner, what: str, began: str = '') -> UserError:
    rates = runner.optim_wrapper.get_lr()
    rate = next(iter(rates.values()))[0] if rates else float('nan')
    return UserError(
        f'training stopped: {what}, at learning rate {rate:.3g}. {began}The '
        f'checkpoints of {runner.work_dir} were written before it. Usual cures: a lower '
        'learning rate (optim_wrapper.optimizer.lr), a longer warm-up, clipped gradients '
        '(optim_wrapper.clip_grad=dict(max_norm=35)), training without --amp, looking for '
        "degenerate boxes in the annotations, or survival.on_non_finite='rollback', which goes "
        'back to the last checkpoint and leaves such batches out.',
        exit_code=1,
    )


def go_back(runner: Runner, checkpoint: str) -> None:
    """Put a run back to a checkpoint, as if it were resumed from it; the loop begins anew then."""
    rollbacks = runner.message_hub.runtime_info[ROLLBACKS]
    runner.optim_wrapper.zero_grad()
    # EMAHook asks for it.
    resumed, runner._resume = runner._resume, True
    runner.resume(checkpoint)
    runner._resume = resumed
    runner.message_hub.update_info(ROLLBACKS, rollbacks)
    runner.optim_wrapper.initialize_count_status(runner.model, runner.iter, runner.max_iters)


def _some(names: Sequence[str], limit: int) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
