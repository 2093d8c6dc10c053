"""Choosing the checkpoint that a run continues from."""

import os.path as osp
import pickle
import re
import zipfile
from pathlib import Path

import torch

from mmattn.engine.errors import UserError


def find_resumable(work_dir: str) -> tuple[str | None, list[str]]:
    """Find the last whole checkpoint of a work dir.

    ``last_checkpoint`` only decides which one is tried first: the path in it
    may be stale (the work dir was moved) or name a deleted or half-written file.

    Args:
        work_dir: Folder with ``epoch_*.pth`` or ``iter_*.pth``.

    Returns:
        Path of the checkpoint (None if there is no whole one) and notes on what
        was passed over.
    """
    folder = Path(work_dir)
    named = _named_last(folder)
    candidates = [] if named is None else [named]
    numbered = sorted(_numbered(folder), key=lambda item: item[0], reverse=True)
    candidates += [path for _, path in numbered if path != named]
    notes = []
    if named is not None and numbered and numbered[0][1] != named:
        notes += _newer_than_named(numbered, named)
    for path in candidates:
        if not path.is_file():
            notes.append(f'{path.name}, named by last_checkpoint, does not exist.')
            continue
        problem = broken(path)
        if problem is None:
            return str(path), notes
        notes.append(f'{path.name} cannot be read ({problem}): the one before it is used.')
    return None, notes


def _named_last(folder: Path) -> Path | None:
    pointer = folder / 'last_checkpoint'
    if not pointer.is_file():
        return None
    text = pointer.read_text(errors='replace').strip()
    # Only the name: the stored absolute folder is wrong once the work dir has moved.
    return folder / osp.basename(text) if text else None


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    found = []
    for path in folder.glob('*.pth'):
        match = re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem)
        if match:
            found.append((int(match.group(1)), path))
    return found


def _newer_than_named(numbered: list[tuple[int, Path]], named: Path) -> list[str]:
    numbers = {path: number for number, path in numbered}
    if named in numbers and numbered[0][0] > numbers[named]:
        return [f'{numbered[0][1].name} is there too; last_checkpoint says {named.name}.']
    return []


def broken(path: Path) -> str | None:
    """Say why a checkpoint file cannot be read, or None if it can.

    Checks the archive's checksums rather than building tensors: a truncated
    file has no directory at its end, a damaged one a wrong checksum.
    """
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            return str(error)
        return None if bad is None else f'its part {bad} is damaged'
    if path.stat().st_size == 0:
        return 'it is empty'
    try:
        # the format before torch 1.6 is no zip archive
        torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
        return f'truncated or not a checkpoint: {type(error).__name__}'
    return None


def check_checkpoint(path: str, option: str) -> None:
    """Raise a :class:`UserError` unless ``path`` is a readable checkpoint (URLs pass)."""
    if '://' in path:
        return
    file = Path(path).expanduser()
    if not file.is_file():
        what = 'is a folder' if file.is_dir() else 'does not exist'
        near = sorted(file.parent.glob('*.pth')) if file.parent.is_dir() else []
        hint = f' In {file.parent}: {", ".join(p.name for p in near)}.' if near else ''
        raise UserError(f'{option} {path!r} {what}.{hint}')
    problem = broken(file)
    if problem:
        raise UserError(f'{option} {path!r} cannot be read: {problem}.')
