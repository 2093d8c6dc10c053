"""Writing files whole: an interruption leaves what was there before."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmattn.utils.errors import UserError

# Of the hidden folders in which files grow.
PART = '.part'


def refuse_existing(paths: Path | Iterable[Path], force: bool) -> None:
    """Raise UserError, before any work, if an output is a folder, or is there without ``force``."""
    paths = [paths] if isinstance(paths, Path) else list(paths)
    for path in (path for path in paths if path.is_dir()):
        raise UserError(f'{path} is a folder; give the name of a file.')
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise UserError(f'{", ".join(existing)} exists already; --force overwrites.')


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield the path, of the same name, where a file is to be written in its stead.

    Once the block has ended well the file is flushed to the disk and takes its place, and its
    folder is flushed; otherwise nothing of it is left. The folder is made if it is not there.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder, since some writers go by the ending of a name, and since what lies in it gets
    # the rights that the umask gives any file.
    folder = tempfile.mkdtemp(dir=path.parent, prefix=f'.{path.name}.', suffix=PART)
    part = Path(folder, path.name)
    try:
        yield part
        # Windows flushes only what is open for writing, and replaces only what is closed.
        with open(part, 'r+b') as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def told(path: str | Path) -> Iterator[None]:
    """Turn an error of the disk into a UserError that names the file."""
    try:
        yield
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror or error}.', 1) from error


def write_whole(path: str | Path, content: bytes | str) -> None:
    """Write all of a file (text as UTF-8) or nothing, flushed to the disk, with its folder made.

    Raises:
        UserError: If it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    with told(path), whole(path) as part:
        part.write_bytes(content)


def append_line(path: str | Path, line: str) -> None:
    """Append a line to a file or, where the disk refuses it, nothing.

    Raises:
        OSError: If it is refused.
    """
    content = (line + '\n').encode()
    with open(path, 'ab', buffering=0) as file:
        before = file.tell()
        try:
            while content:  # the rest, if only a part was taken, to hear why
                content = content[file.write(content) :]
        except OSError:
            with suppress(OSError):  # the first error is the one to tell
                file.truncate(before)
            raise


def write_or_print(path: str | Path | None, text: str) -> None:
    """What a tool has found: into a file, said, or without one to the terminal."""
    if path is None:
        print(text, end='')
    else:
        write_whole(path, text)
        print(f'written: {path}')


def holds(path: Path, content: bytes, chunk: int = 1 << 18) -> bool:
    """Whether a file, read again, is these bytes."""
    start, read, wanted = 0, bytearray(chunk), memoryview(content)
    with open(path, 'rb', buffering=0) as file:
        while count := file.readinto(read):
            # A whole bytearray is compared to a view without a copy of either.
            if (read if count == chunk else read[:count]) != wanted[start : start + count]:
                return False
            start += count
    return start == len(content)


def remove_parts(folder: str | Path) -> list[Path]:
    """Remove what processes that died while they wrote have left in a folder."""
    parts = [part for part in Path(folder).glob(f'.*{PART}') if not part.is_symlink()]
    for part in parts:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:  # as mmattn wrote them before
            part.unlink(missing_ok=True)
    return parts


def _flush_folder(folder: Path) -> None:
    """Make a new name in a folder outlive a power cut."""
    if os.name != 'posix':
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
