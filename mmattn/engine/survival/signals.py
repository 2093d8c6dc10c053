"""Signals in a command: at once while it starts, after the iteration once it runs.

A signal that ended a run in the middle of an iteration would lose what was done since the last
checkpoint; a KeyboardInterrupt raised there may besides come out as another error (of the
autograd engine, of torch.save) or be lost in a destructor. So the first signal is only noted
here, and :mod:`mmattn.engine.survival.stopping` acts on it; a second one acts at once.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.util import register_after_fork
from typing import Any

from mmattn.engine.distributed import speaks_first
from mmattn.utils.errors import Interrupted

# Schedulers announce with SIGUSR1 that a job is going to be ended, and may be started again: the
# exit status is EX_TEMPFAIL of sysexits.h. That of the others is the shell's, 128 + number.
HANDLED = ('SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR1')
TRY_AGAIN = 75
# torchrun, timeout(1) and schedulers send one signal twice: to a group, and to its processes.
SAME = 1.0  # seconds


class _State:
    """Of the process that handles signals, or would."""

    pid: int | None = None  # while it does
    parent: int | None = None
    got = 0  # the signal that it, or another process of the run, has got
    at = 0.0  # when
    deferred = False  # whether the first signal is only noted
    raised = False  # whether one was raised
    agreed = False  # whether all processes of the run have agreed to stop
    shielded: int | None = None


state = _State()


def describe(number: int) -> str:
    """What a person calls a signal."""
    return 'Ctrl-C' if number == signal.SIGINT else signal.Signals(number).name


def exit_status(number: int) -> int:
    """Exit status of a command that a signal has stopped: 75 after SIGUSR1, else 128 + number."""
    return TRY_AGAIN if signal.Signals(number).name == 'SIGUSR1' else 128 + number


def stopped_by(status: int) -> str | None:
    """What has stopped a command with this exit status; None if it was no signal."""
    numbers = (getattr(signal, name, None) for name in HANDLED)
    return {exit_status(each): describe(each) for each in numbers if each}.get(status)


@contextmanager
def handled() -> Iterator[bool]:
    """Handle signals meanwhile, in this process only; the former handlers come back.

    Does nothing where it is done already, and in threads, which get no signals. Signals that
    are ignored (nohup) stay so. Yields whether they are handled on this call's behalf.
    """
    if state.pid == os.getpid() or threading.current_thread() is not threading.main_thread():
        yield False
        return
    vars(state).clear()
    state.pid, state.parent = os.getpid(), os.getppid()
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
    if os.getpid() != state.pid:  # forked past multiprocessing
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
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


def shield() -> None:
    """Have nobody but the parent end this process, a data worker or the like.

    Whoever signals all processes of a run would otherwise have these die, and with them the
    iteration that is to be finished.
    """
    if state.shielded == os.getpid():
        return
    state.shielded = os.getpid()
    for name in HANDLED:
        if name != 'SIGTERM' and hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        # Only this tells who has sent a signal; the parent ends its workers with SIGTERM.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        waiting = partial(_end_with, os.getppid())
        threading.Thread(target=waiting, daemon=True).start()


def _end_with(parent: int) -> None:
    sender = 0
    while sender != parent and os.getppid() == parent:
        sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
    os._exit(0)


def shielded(init: Callable[[int], None] | None, worker: int) -> None:
    """Begin a data worker that only its parent ends: a ``worker_init_fn``.

    Args:
        init: The loader's own ``worker_init_fn``.
        worker: Its number.
    """
    shield()
    if init is not None:
        init(worker)


# Forked workers of any kind, which inherit the handlers; those that are spawned inherit nothing.
register_after_fork(state, lambda state: state.pid == os.getppid() and shield())
