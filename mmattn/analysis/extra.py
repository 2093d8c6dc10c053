"""Libraries that only the instruments need: the extra ``mmattn[analysis]``."""

from importlib import import_module
from types import ModuleType

from mmattn.utils.errors import UserError


def extra(name: str) -> ModuleType:
    """The module ``name`` of one of these libraries.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        library = name.partition('.')[0].replace('_', '-')
        raise UserError(
            f"this needs {library}, which is not here ({error}): pip install 'mmattn[analysis]'"
        ) from error
