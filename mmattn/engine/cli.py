"""What the command lines share: errors without tracebacks, Ctrl-C, and notes."""

import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from mmattn.engine import interrupt
from mmattn.utils.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def run(command: Callable[[], object]) -> int:
    """Run a command; turn errors of the user into one message.

    Args:
        command: What to do.

    Returns:
        Exit status: 0, the error's own (2 for wrong use), or 130 after Ctrl-C.
        Other exceptions pass with their traceback.
    """
    interrupt.install()
    try:
        command()
    except UserError as error:
        _complain(str(error))
        return error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        # C++ code turns a KeyboardInterrupt into errors of its own
        if interrupt.requested() or isinstance(error, KeyboardInterrupt):
            _complain('stopped by Ctrl-C.')
            return 130
        message = _message_of_validation(error)
        if message is None:
            raise
        _complain(message)
        return 2
    _leave_together()
    return 0


def _leave_together() -> None:
    """End the processes of a distributed run at the same moment, without teardown.

    Seen: a gloo process that ends first aborts in a thread of its own ('terminate
    called without an active exception'), and torchrun then kills the others before they
    have printed their results. Everything is written by now, so teardown is skipped.
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def end_start() -> None:
    """Turn the garbage collector on again, sparing it what the start has made."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def is_rank_zero() -> bool:
    """Tell whether this process speaks for the run, before and after the process group exists."""
    rank = os.environ.get('RANK') or os.environ.get('SLURM_PROCID')
    return int(rank or os.environ.get('OMPI_COMM_WORLD_RANK') or 0) == 0


def say(lines: Iterable[str]) -> None:
    """Print notes, on the first process only."""
    if is_rank_zero():
        for line in lines:
            print(line, flush=True)


def _complain(message: str) -> None:
    if is_rank_zero():
        print(f'error: {message}', file=sys.stderr, flush=True)


def _message_of_validation(error: BaseException) -> str | None:
    """Message of an error that mmattn's own argument checks raised, else None.

    mmengine may wrap it, so the chain is followed to where it began. Errors of
    the engine itself are bugs and keep their traceback.
    """
    if not isinstance(error, (ValueError, TypeError, KeyError)):
        return None
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return None
    frame = frames[-1]
    origin = Path(frame.filename).resolve()
    if PACKAGE not in origin.parents or PACKAGE / 'engine' in origin.parents:
        return None
    if not (frame.line or '').lstrip().startswith('raise '):
        return None
    return str(error.args[0]) if error.args else str(error)
