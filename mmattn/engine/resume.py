"""Choosing the checkpoint that a run continues from."""

import os.path as osp
import re
from pathlib import Path

from mmattn.utils.checkpoints import broken


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
