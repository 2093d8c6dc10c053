"""Ctrl-C in a command: at once while it starts, between two iterations once it runs.

A KeyboardInterrupt raised in the middle of an iteration may come out as another error
(of the autograd engine, of torch.save) or be lost in a destructor, and then the person
sees a traceback instead of how to continue.
"""

import os
import signal
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

_requested = False
_deferred = False


def install() -> None:
    """Handle SIGINT from here on, in this process only.

    Forked data workers inherit the handler and ignore the signal: the main process
    ends them, and each would print a traceback of its own.
    """
    global _requested, _deferred
    _requested = _deferred = False
    main = os.getpid()

    def handle(number: int, frame: Any) -> None:
        global _requested
        if os.getpid() != main:
            return
        first, _requested = not _requested, True
        if not (_deferred and first):
            raise KeyboardInterrupt
        # os.write, since the signal may have come in the middle of a print
        message = '\nCtrl-C: stopping after this iteration (again: at once) ...\n'
        os.write(2, message.encode())

    signal.signal(signal.SIGINT, handle)


def requested() -> bool:
    """Tell whether Ctrl-C was pressed since :func:`install`."""
    return _requested


def hold(back: bool) -> None:
    """Let the next Ctrl-C only be noted (True), or act at once (False)."""
    global _deferred
    _deferred = back


class InterruptHook(Hook):
    """End a run before its next iteration once Ctrl-C was pressed."""

    priority = 'HIGHEST'

    def _hold(self, runner: Runner) -> None:
        hold(True)

    def _release(self, runner: Runner) -> None:
        hold(False)

    def _stop(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if requested():
            raise KeyboardInterrupt

    before_train = before_test = _hold
    after_train = after_test = _release
    before_train_iter = before_val_iter = before_test_iter = _stop
