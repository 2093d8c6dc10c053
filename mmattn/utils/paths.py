"""Names of files in annotations and lists: where they may lead.

A name in a file that somebody else has written must stay in the folders that the config or the
command gives. Links do not matter here: those in a data folder are their owner's arrangement
(whole data sets are linked to where there is room), and are followed; so are absolute names and
``..`` that stay inside.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from mmattn.utils.errors import UserError

LEADS_OUT = "its name leads out of the data's folder"


class LeadsOut(UserError):
    """A name that leads to where it must not.

    Args:
        name: The name, or the path that it makes.
        folders: Where it may lead.
    """

    def __init__(self, name: object, folders: Iterable[str | Path]) -> None:
        self.name = name if isinstance(name, str) and name.isprintable() else ascii(name)[:200]
        where = ' or '.join(map(str, folders))
        super().__init__(f'{self.name!r} leads out of {where}; nothing was read there.')


def require_inside(path: object, folders: Iterable[str | Path]) -> None:
    """Raise :class:`LeadsOut` for a path outside of all the folders, a URL, or no path at all."""
    folders = [str(folder) for folder in folders]
    if not (_is_name(path) and any(_is_below(path, folder) for folder in folders)):
        raise LeadsOut(path, folders)


def leads_elsewhere(name: object) -> bool:
    """Whether a name is more than a path downwards from wherever it is read."""
    if not _is_name(name) or '://' in name or os.path.isabs(name):
        return True
    return '..' in name.replace('\\', '/').split('/')


def inside(folder: str | Path, name: object) -> Path:
    """The path of a name below a folder.

    Raises:
        LeadsOut: If it leads elsewhere, or is no name.
    """
    if not _is_name(name):
        raise LeadsOut(name, [folder])
    path = os.path.join(folder, name)
    require_inside(path, [folder])
    return Path(path)


def _is_name(path: object) -> bool:
    try:
        return isinstance(path, str) and b'\0' not in os.fsencode(path)
    except UnicodeEncodeError:  # half a character
        return False


def _is_below(path: str, folder: str) -> bool:
    if '://' in path:
        return '://' in folder and path.startswith(folder) and '..' not in path.split('/')
    # On POSIX too: what leads out on another system is no name of a file of this data.
    whole, root = os.path.abspath(path.replace('\\', '/')), os.path.abspath(folder)
    return whole == root or whole.startswith(root.rstrip(os.sep) + os.sep)
