"""Errors that a user can mend: one message, no traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """Something in the command, the config or the data that the user can mend.

    Command lines print the message without a traceback and leave with
    ``exit_code``.

    Args:
        message: What is wrong, with the bad value, and what would be valid.
        exit_code: Status of the process; 2 (wrong use) unless told.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class InvalidValue(UserError, ValueError):
    """A value in a config that a component refuses; also a :class:`ValueError`."""


class UnknownName(UserError, KeyError):
    """A name that is not registered or not known; also a :class:`KeyError`."""

    # KeyError's shows the message in quotes.
    __str__ = Exception.__str__


class InvalidArgument(UserError, TypeError):
    """An argument that a component does not take; also a :class:`TypeError`."""


class Interrupted(UserError):
    """A signal during a run, Ctrl-C unless told; the message says how to continue."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message, exit_code)


def spare_tracebacks() -> None:
    """Let a UserError that ends this process print its message alone, in any program."""
    before = sys.excepthook

    def report(kind: type, error: BaseException, trace: object) -> None:
        if isinstance(error, UserError):
            print(f'error: {error}', file=sys.stderr, flush=True)
        else:
            before(kind, error, trace)

    if before.__name__ != report.__name__:
        sys.excepthook = report


def one_line(error: Exception) -> str:
    """Kind and message of an error that is no user's, without line breaks."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())


def did_you_mean(name: str, names: Iterable[str], most: int = 3, likeness: float = 0.6) -> str:
    """A sentence that names what is near ``name``, after a space; '' if nothing is.

    Args:
        most: How many it names.
        likeness: How alike they are at least, of 0 to 1.
    """
    found = difflib.get_close_matches(name, sorted(names), most, likeness)
    return f' Did you mean {" or ".join(found)}?' if found else ''


def run(command: Callable[[], int | None]) -> int:
    """Run a command that needs no engine, whose own is ``engine.cli.run``; return its status."""
    try:
        return command() or 0
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return error.exit_code
