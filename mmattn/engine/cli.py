"""What the command lines share: errors without tracebacks, and signals."""

import sys
from collections.abc import Callable

import mmengine.logging
from mmengine.logging import print_log

from mmattn.engine.distributed import another_ended, leave_together, worded
from mmattn.engine.mistakes import explain_building
from mmattn.engine.survival import signals
from mmattn.kernels import choice
from mmattn.utils.errors import UserError


def run(command: Callable[[], object]) -> int:
    """Run a command; turn errors of the user into one message.

    Returns:
        Exit status: 0, the error's own (2 for wrong use), or that of the signal which has
        stopped it. Other exceptions pass with their traceback.
    """
    hush_imports()
    with signals.handled():
        try:
            choice.mode()  # a wrong MMATTN_KERNELS shows before anything is built
            command()
            leave_together()
            return 0
        except (Exception, KeyboardInterrupt) as error:
            known = _known(error)
            if known is None:
                raise
        text = worded(str(known), by_all=signals.state.agreed)
        if text is not None:
            print(text, file=sys.stderr, flush=True)
        if signals.state.agreed:
            leave_together(known.exit_code)
        return known.exit_code


def _known(error: BaseException) -> UserError | None:
    """What a command says about an error in place of a traceback."""
    if isinstance(error, UserError):
        return error
    if signals.caused(error):
        return signals.interrupted()
    if another_ended(error):
        return UserError('another process of the run has ended, and this one with it.', 1)
    message = explain_building(error)
    return None if message is None else UserError(message)


def hush_imports() -> None:
    """Leave out what the toolboxes' imports print about an optional package."""
    mmengine.logging.print_log = _print_log


def _print_log(message: object, *args, **options) -> None:
    """mmengine's, but for what :func:`hush_imports` leaves out."""
    if not str(message).startswith('Could not import OneDL'):
        print_log(message, *args, **options)
