"""Ctrl-C in a command: at once while it starts, between two iterations once it runs.

A KeyboardInterrupt raised in the middle of an iteration may come out as another error
(of the autograd engine, of torch.save) or be lost in a destructor, and then the person
sees a traceback instead of how to continue.
"""

import os
import signal
from types import SimpleNamespace
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

# Whether Ctrl-C was pressed, and whether the first one is only noted.
state = SimpleNamespace(requested=False, deferred=False)


def install() -> None:
    """Handle SIGINT from here on, in this process only.

    Forked data workers inherit the handler and ignore the signal: the main process
    ends them, and each would print a traceback of its own.
    """
    state.requested = state.deferred = False
    main = os.getpid()

    def handle(number: int, frame: Any) -> None:
        if os.getpid() != main:
            return
        first, state.requested = not state.requested, True
        if not (state.deferred and first):
            raise KeyboardInterrupt
        # os.write, since the signal may have come in the middle of a print
        message = '\nCtrl-C: stopping after this iteration (again: at once) ...\n'
        os.write(2, message.encode())

    signal.signal(signal.SIGINT, handle)


def caused(error: BaseException) -> bool:
    """Whether an error comes from Ctrl-C; C++ code turns a KeyboardInterrupt into its own."""
    return state.requested or isinstance(error, KeyboardInterrupt)


class InterruptHook(Hook):
    """End a run before its next iteration once Ctrl-C was pressed."""

    priority = 'HIGHEST'

    def _defer(self, runner: Runner) -> None:
        state.deferred = True

    def _release(self, runner: Runner) -> None:
        state.deferred = False

    def _stop(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if state.requested:
            raise KeyboardInterrupt

    before_train = before_test = _defer
    after_train = after_test = _release
    before_train_iter = before_val_iter = before_test_iter = _stop
