"""What the command lines share: errors without tracebacks, and Ctrl-C."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress

import mmengine.logging
import torch.distributed as dist
from mmengine.logging import print_log

from mmattn.engine import interrupt
from mmattn.engine.distributed import worded
from mmattn.engine.mistakes import explain_building
from mmattn.kernels import choice
from mmattn.utils.errors import UserError


def run(command: Callable[[], object]) -> int:
    """Run a command; turn errors of the user into one message.

    Returns:
        Exit status: 0, the error's own (2 for wrong use), or 130 after Ctrl-C.
        Other exceptions pass with their traceback.
    """
    interrupt.install()
    mmengine.logging.print_log = _print_log
    try:
        choice.mode()  # a wrong MMATTN_KERNELS shows before anything is built
        command()
        _leave_together()
        return 0
    except UserError as error:
        message, status = str(error), error.exit_code
    except (Exception, KeyboardInterrupt) as error:
        stopped = interrupt.caused(error)
        message = 'stopped by Ctrl-C.' if stopped else explain_building(error)
        status = 130 if stopped else 2
        if message is None:
            raise
    text = worded(message)
    if text is not None:
        print(text, file=sys.stderr, flush=True)
    return status


def _leave_together() -> None:
    """End the processes of a distributed run at the same moment, without teardown.

    Seen: a gloo process that ends first aborts in a thread of its own ('terminate
    called without an active exception'), and torchrun then kills the others before they
    have printed their results. Everything is written by now, so teardown is skipped.
    """
    if dist.is_available() and dist.is_initialized():
        # The others may have left already.
        with suppress(RuntimeError):
            dist.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _print_log(message: object, *args, **options) -> None:
    """mmengine's, but for what the toolboxes' imports print about an optional package."""
    if not str(message).startswith('Could not import OneDL'):
        print_log(message, *args, **options)
