"""The files that torch.save writes: zip archives, and what torch before 1.6 wrote.

They are taken apart here, not by torch, whose reader believes what a file says of itself: the
size of a storage, where its parts lie, which function reads it.
"""

import io
import stat
import sys
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch.serialization import _get_restore_location

from mmattn.utils.errors import UserError
from mmattn.utils.rebuilding import Name, Storage, is_count, require
from mmattn.utils.unpickling import STORAGES, Unpickler

# First bytes of a zip archive, and of a tar archive from byte 257 on.
ZIP = b'PK\x03\x04'
TAR = b'ustar'
# What torch.save wrote first before it wrote archives.
MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
# How much larger than the file a compressed archive may be.
MOST = 20
CHUNK = 2**22
SAVE_STATE = 'whose code would have to run; save model.state_dict() with the code it came from'

Restore = Callable[[torch.UntypedStorage, str], torch.UntypedStorage]


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip archive after a look at what it says of its parts.

    Raises:
        UserError: Saying what "it" is, if that is not what torch.save writes.
    """
    size = file.seek(0, 2)
    archive = zipfile.ZipFile(file)
    parts = archive.infolist()
    names = [part.orig_filename for part in parts]
    for part, name in zip(parts, names, strict=True):
        kind = stat.S_IFMT(part.external_attr >> 16)
        if '\0' in name or '\\' in name or name.startswith('/') or '..' in name.split('/'):
            raise UserError(f'has a part with the path {name[:80]!r}, outside of it')
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f'has a part, {name[:80]!r}, that is no file but a link or a device')
        if part.flag_bits & 1:
            raise UserError('is encrypted')
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f'is compressed in a way that torch does not know, in {name[:80]!r}')
    if len(set(names)) < len(names):
        raise UserError('has two parts of the same name')
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    declared = sum(part.file_size for part in parts)
    if declared > size * (1 if stored else MOST):
        raise UserError(
            f'declares {declared / 2**20:,.0f} MiB in a file of {size / 2**20:,.1f} (a zip bomb?)'
        )
    if any(name.endswith('/constants.pkl') or '/code/' in name for name in names):
        raise UserError(f'is a TorchScript program, {SAVE_STATE}')
    return archive


def verify_archive(file: BinaryIO) -> None:
    """Read all of an archive for its checksums; torch reads damaged tensors without a word."""
    with open_archive(file) as archive:
        bad = archive.testzip()
        _root(archive)
    if bad is not None:
        raise UserError(f'has a damaged part, {bad[:80]!r}')


def read_archive(file: BinaryIO, location: Any, lenient: bool) -> Any:
    """The content of a zip archive.

    Args:
        location: Where tensors go, as ``map_location`` of torch.load; None is the CPU.
        lenient: See :class:`Unpickler`.
    """
    size = file.seek(0, 2)
    with open_archive(file) as archive:
        root = _root(archive)
        parts = {part.filename: part for part in archive.infolist()}
        order = parts.get(f'{root}/byteorder')
        swapped = order is not None and archive.read(order).decode() != sys.byteorder
        restore = _restore(location)
        storages: dict[str, torch.UntypedStorage] = {}

        def storage(pid: Any) -> Any:
            dtype, key, where, count = declared(pid)
            if key not in storages:
                part = parts.pop(f'{root}/data/{key}', None)
                if part is None:
                    raise UserError(f'lacks its part data/{key[:80]!r}')
                if part.file_size != count * dtype.itemsize:
                    raise UserError(
                        f'declares {count * dtype.itemsize:,} bytes for its part data/{key}, '
                        f'which has {part.file_size:,}'
                    )
                with archive.open(part) as stream:
                    content = read_storage(stream, part.file_size)
                    stream.read(1)  # compares the checksum
                if swapped:
                    content.byteswap(dtype)
                storages[key] = restore(content, where)
            return Storage(storages[key], dtype)

        program = io.BytesIO(archive.read(parts.pop(f'{root}/data.pkl')))
        data = Unpickler(program, size, storage, lenient).load()
        for part in parts.values():
            with archive.open(part) as stream:
                while stream.read(CHUNK):
                    pass
    return data


def read_legacy(file: BinaryIO, location: Any, lenient: bool) -> Any:
    """The content of a file of torch before 1.6: pickles, one after the other, then the bytes."""
    size = file.seek(0, 2)
    file.seek(0)
    restore = _restore(location)
    storages: dict[str, Storage] = {}

    def storage(pid: Any) -> Any:
        if type(pid) is tuple and pid[:1] == ('module',) and len(pid) > 1:
            return pid[1]  # with its source code, which nobody reads
        *pid, view = pid
        dtype, key, where, count = declared(tuple(pid))
        if key not in storages:
            held = sum(each.content.nbytes() for each in storages.values())
            if held + count * dtype.itemsize > size:
                raise UserError(f'declares more than {size:,} bytes, of which it has that many')
            content = torch.UntypedStorage(count * dtype.itemsize)
            storages[key] = Storage(restore(content, where), dtype)
        content = storages[key].content
        if view is not None:
            require(type(view) is tuple and len(view) == 3 and is_count(*view[1:]), 'a view')
            begin, end = (number * dtype.itemsize for number in (view[1], sum(view[1:])))
            require(end <= content.nbytes(), 'a view')
            content = content[begin:end]
        return Storage(content, dtype)

    def load() -> Any:
        return Unpickler(file, size, storage, lenient).load()

    if load() != MAGIC or load() != LEGACY_VERSION or not isinstance(load(), dict):
        raise UserError('is no file that torch.save wrote')
    data, keys = load(), load()
    require(type(keys) is list and {*map(str, keys)} == storages.keys(), 'a list of storages')
    for key in keys:
        held = storages[key]
        count = int.from_bytes(file.read(8), 'little')
        if count * held.dtype.itemsize != held.content.nbytes():
            raise UserError(f'says two things of the size of its storage {key[:80]!r}')
        held.content.copy_(read_storage(file, held.content.nbytes()))
    return data


def read_storage(stream: Any, size: int) -> torch.UntypedStorage:
    """So many bytes, which must be there."""
    content = torch.empty(size, dtype=torch.uint8)
    view = memoryview(content.numpy())
    done = 0
    while done < size:
        read = stream.readinto(view[done : done + CHUNK])
        if not read:
            raise UserError(f'ends {size - done:,} bytes too early')
        done += read
    return content.untyped_storage()


def declared(pid: Any) -> tuple[torch.dtype, str, str, int]:
    """Dtype, key, device and number of elements of a storage, out of its persistent id."""
    require(type(pid) is tuple and len(pid) == 5 and pid[0] == 'storage', 'a storage')
    _, kind, key, where, count = pid
    dtype = STORAGES.get(kind.name.rsplit('.', 1)[-1]) if isinstance(kind, Name) else None
    valid = dtype is not None and type(key) is str and type(where) is str and is_count(count)
    require(valid, 'a storage')
    return dtype, key, where, count


def _restore(location: Any) -> Restore:
    return _get_restore_location('cpu' if location is None else location)


def _root(archive: zipfile.ZipFile) -> str:
    """The folder in which torch.save puts everything."""
    names = archive.namelist()
    roots = [name.removesuffix('/data.pkl') for name in names if name.endswith('/data.pkl')]
    if len(roots) != 1 or '/' in roots[0]:
        raise UserError('is an archive, but not one that torch.save wrote')
    others = [name for name in names if not name.startswith(f'{roots[0]}/')]
    if others:
        raise UserError(f'has a part that torch.save does not write, {others[0][:80]!r}')
    return roots[0]
