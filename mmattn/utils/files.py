"""Writing files whole: an interruption leaves what was there before."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mmattn.utils.errors import UserError


def refuse_existing(paths: Path | Iterable[Path], force: bool) -> None:
    """Raise UserError, before any work, if an output is a folder, or is there without ``force``."""
    paths = [paths] if isinstance(paths, Path) else list(paths)
    for path in (path for path in paths if path.is_dir()):
        raise UserError(f'{path} is a folder; give the name of a file.')
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise UserError(f'{", ".join(existing)} exists already; --force overwrites.')


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write all of a file (text as UTF-8) or nothing, flushed to the disk, with its folder made.

    Raises:
        UserError: If it cannot be written.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
        try:
            with os.fdopen(handle, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # Temporary files are private; the result gets what the umask gives any file.
            os.chmod(part, 0o666 & ~_umask())
            # Closed by now: Windows replaces no open file.
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror or error}.', 1) from error


def write_or_print(path: str | Path | None, text: str) -> None:
    """What a tool has found: into a file, said, or without one to the terminal."""
    if path is None:
        print(text, end='')
    else:
        write_whole(path, text)
        print(f'written: {path}')


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
