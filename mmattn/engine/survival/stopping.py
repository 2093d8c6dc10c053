"""What a signal makes of a run: it stops after the iteration, everywhere, saved, and says so."""

import os
import os.path as osp
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn.engine.distributed import leave_together, worded
from mmattn.engine.resume import how_to_continue
from mmattn.engine.survival.agreement import Agreement
from mmattn.engine.survival.checkpoint_hook import save_now
from mmattn.engine.survival.signals import caused, describe, handled, interrupted, state
from mmattn.engine.survival.work_dir import lost_to
from mmattn.utils.errors import UserError


@contextmanager
def heeded(runner: Runner) -> Iterator[None]:
    """Let a signal end what the runner does meanwhile with a word on how to continue.

    Raises:
        Interrupted: After a signal, if the command handles signals. If it does not, as the
            toolboxes' own do not, the word is printed here and the process ended.
    """
    with handled() as alone:
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, UserError) or not caused(error):
                raise
            stopped = interrupted(_last_words(runner))
        else:
            return
        finally:
            state.deferred = False
        if alone:
            text = worded(str(stopped), by_all=state.agreed)
            if text is not None:
                print(text, file=sys.stderr, flush=True)
            if state.agreed:
                leave_together(stopped.exit_code)
            raise SystemExit(stopped.exit_code)
    raise stopped from None


def _last_words(runner: Runner) -> str:
    """Why a run has ended here, and how it is continued."""
    cause = f'stopped by {describe(state.got or signal.SIGINT)}'
    hook = next((each for each in runner.hooks if isinstance(each, SignalHook)), None)
    if hook is None or hook.stage == 'train':
        done = runner.iter if hook is None else hook.done
        return how_to_continue(runner, f'{cause} at iteration {done} of {runner.max_iters}')
    return f'{cause} at batch {hook.done} of {hook.length} of the {hook.stage}; nothing is kept.'


class SignalHook(Hook):
    """Stop all processes after the same iteration once one of them has got a signal."""

    # After whatever belongs to an iteration.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self.stage = ''  # 'train', or 'validation' or 'test' for themselves
        self.done = self.length = 0  # iterations of the training, or batches
        self._polled = 0  # batches of a validation or test after which the processes agree
        self._agreement: Agreement | None = None
        self._swapped: dict[Hook, Callable[[], None]] = {}

    def before_train(self, runner: Runner) -> None:
        self._begin('train')
        self.done, self.length = runner.iter, runner.max_iters
        for hook in runner.hooks:
            self._watch(hook)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.done = runner.iter + 1
        if self._asked_to_stop(runner):
            save_now(runner, dict(epoch=runner.epoch, iter=self.done))
            raise KeyboardInterrupt

    def after_train(self, runner: Runner) -> None:
        self._agreement.close()

    def before_val_epoch(self, runner: Runner) -> None:
        self._begin_batches(runner.val_dataloader, 'validation')

    def before_test_epoch(self, runner: Runner) -> None:
        self._begin_batches(runner.test_dataloader, 'test')

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self.stage != 'train':
            self.done = batch_idx + 1
        if batch_idx >= self._polled or not self._asked_to_stop(runner):
            return
        if self.stage == 'train':
            self.done = runner.iter
            self.save_in_validation(runner)
        raise KeyboardInterrupt

    after_test_iter = after_val_iter

    def save_in_validation(self, runner: Runner) -> None:
        """Save what a validation of a training is of, unless that is done."""
        last = osp.basename(runner.message_hub.runtime_info.get('last_ckpt') or '')
        # The run that continues from either does the whole validation.
        if self.stage == 'train' and last != f'epoch_{runner.epoch}.pth':
            for swap in [*self._swapped.values()]:
                swap()
            save_now(runner, dict(epoch=runner.epoch, iter=runner.iter))

    def _watch(self, hook: Hook) -> None:
        """Note whether a hook like EMAHook has put averaged weights into the model."""
        swap = getattr(hook, '_swap_ema_parameters', None)
        if swap is None or isinstance(swap, partial):
            return

        def noted(swap: Callable[[], None]) -> None:
            swap()
            if self._swapped.pop(hook, None) is None:
                self._swapped[hook] = hook._swap_ema_parameters

        hook._swap_ema_parameters = partial(noted, swap)

    def _begin(self, stage: str) -> None:
        self.stage = stage
        if self._agreement is None:
            self._agreement = Agreement()
        state.deferred = True

    def _begin_batches(self, loader: DataLoader, stage: str) -> None:
        # Also for its own sake, without a training.
        if self.stage != 'train':
            self._begin(stage)
        try:
            length = len(loader)
        except TypeError:  # of an iterable data set
            length = 0
        if self.stage != 'train':
            self.length = length
        # Processes may have different numbers of batches to evaluate.
        self._polled = self._agreement.least(length)

    def _asked_to_stop(self, runner: Runner) -> bool:
        thief = lost_to(runner.work_dir)
        if thief:
            raise UserError(
                f'training stopped: {runner.work_dir} has been taken over by {thief}, since this '
                'process had given no sign of life for too long.',
                exit_code=1,
            )
        if state.pid and not state.got and os.getppid() != state.parent:
            # What started this process has been killed, and cannot end it any more.
            state.got = signal.SIGTERM
        got = self._agreement.greatest(state.got)
        if got:
            state.got, state.agreed = got, True
        return bool(got)
