"""Signals in a command: at once while it starts, after the iteration once it runs.

A signal that ended a run in the middle of an iteration would lose what was done since the last
checkpoint; a KeyboardInterrupt raised there may besides come out as another error (of the
autograd engine, of torch.save) or be lost in a destructor. So the first signal is only noted.
After the iteration, of training, validation or test, all processes stop together, and a
training saves itself. A second signal acts at once.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmattn.engine.distributed import leave_together, speaks_first, worded
from mmattn.engine.resume import how_to_continue
from mmattn.engine.survival.agreement import Agreement
from mmattn.engine.survival.checkpoint_hook import save_now
from mmattn.engine.survival.work_dir import lost_to
from mmattn.utils.errors import Interrupted, UserError

# Schedulers announce with SIGUSR1 that a job is going to be ended, and may be started again: the
# exit status is EX_TEMPFAIL of sysexits.h. That of the others is the shell's, 128 + number.
HANDLED = ('SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR1')
TRY_AGAIN = 75
# torchrun, timeout(1) and schedulers send one signal twice: to a group, and to its processes.
SAME = 1.0  # seconds

# Of the process `pid`, whose parent was `parent`: the signal that it or another process of the
# run has got, and when; whether the first one is only noted; whether one was raised; whether all
# processes of the run have agreed to stop.
state = SimpleNamespace(
    pid=None, parent=None, got=0, at=0.0, deferred=False, raised=False, agreed=False
)


def describe(number: int) -> str:
    """What a person calls a signal."""
    return 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name


def exit_status(number: int) -> int:
    """Exit status of a command that a signal has stopped: 75 after SIGUSR1, else 128 + number."""
    return TRY_AGAIN if signal.Signals(number).name == 'SIGUSR1' else 128 + number


@contextmanager
def handled() -> Iterator[bool]:
    """Handle signals meanwhile, in this process only; the former handlers come back.

    Does nothing where it is done already, and in threads, which get no signals. Signals that
    are ignored (nohup) stay so. Yields whether they are handled on this call's behalf.

    Forked processes inherit the handlers, and ignore the signals.
    """
    if state.pid == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield False
        return
    vars(state).update(pid=os.getpid(), parent=os.getppid(), got=0, at=0.0)
    vars(state).update(deferred=False, raised=False, agreed=False)
    numbers = [getattr(signal, name) for name in HANDLED if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _handle)
    try:
        yield True
    finally:
        state.pid = None
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _handle(number: int, frame: Any) -> None:
    if os.getpid() != state.pid:
        return
    first, now = not state.got, time.monotonic()
    if first:
        state.got, state.at = number, now
        if state.deferred:
            if speaks_first():
                # os.write, since the signal may have come in the middle of a print
                message = (
                    f'\n{describe(number)}: stopping after this iteration (again: at once) ...\n'
                )
                os.write(2, message.encode())
            return
    elif now - state.at < SAME:
        return
    state.raised = True
    raise KeyboardInterrupt


def caused(error: BaseException) -> bool:
    """Whether an error comes from a signal; C++ code turns a KeyboardInterrupt into its own."""
    return state.raised or isinstance(error, KeyboardInterrupt)


def interrupted(message: str = '') -> Interrupted:
    """The error that a signal ends a command with."""
    number = state.got or signal.SIGINT
    return Interrupted(message or f'stopped by {describe(number)}.', exit_status(number))


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
            text = worded(str(stopped))
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

    def before_train(self, runner: Runner) -> None:
        self._begin('train')
        self.done, self.length = runner.iter, runner.max_iters

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
        if batch_idx < self._polled and self._asked_to_stop(runner):
            raise KeyboardInterrupt

    after_test_iter = after_val_iter

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


def shielded(init: Callable[[int], None] | None, worker: int) -> None:
    """Begin a data worker that only its own process ends; a ``worker_init_fn``.

    Whoever signals all processes of a run would otherwise have the workers die, and with them
    the iteration that is to be finished.

    Args:
        init: The loader's own ``worker_init_fn``.
        worker: Its number.
    """
    for name in HANDLED:
        if name != 'SIGTERM' and hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        waiting = partial(_end_with, os.getppid())
        threading.Thread(target=waiting, daemon=True).start()
    if init is not None:
        init(worker)


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
