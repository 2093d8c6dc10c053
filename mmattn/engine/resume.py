"""Choosing the checkpoint that a run continues from, and saying how it is continued."""

import argparse
import os.path as osp
import re
import shlex
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmattn.utils.checkpoints import broken, check_checkpoint


def choose_checkpoint(cfg: Config, resume: str | None) -> list[str]:
    """Set ``resume`` and ``load_from`` of a config; return notes on the choice."""
    if resume is None:
        if cfg.get('load_from'):
            check_checkpoint(cfg.load_from, 'load_from')
        return []
    path, notes = resume, []
    if resume == 'auto':
        path, notes = find_resumable(cfg.work_dir)
    else:
        check_checkpoint(resume, '--resume')
    cfg.resume = path is not None
    if path is None:
        return [*notes, f'--resume: {cfg.work_dir} holds no checkpoint; the run starts anew.']
    cfg.load_from = path
    return [*notes, f'continues from {path}.']


def how_to_continue(runner: Runner) -> str:
    """What to tell the user after Ctrl-C."""
    where = f'stopped by Ctrl-C at iteration {runner.iter} of {runner.max_iters}'
    path, _ = find_resumable(runner.work_dir)
    if path is None:
        return f'{where}, before the first checkpoint was written: there is nothing to continue.'
    command = 'the same command with --resume'
    if not runner.distributed:
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument('--resume', nargs='?')
        _, words = parser.parse_known_args(sys.argv[1:])
        command = shlex.join([sys.argv[0], *words, '--resume'])
    return f'{where}. To continue from {osp.basename(path)}: {command}'


def find_resumable(work_dir: str) -> tuple[str | None, list[str]]:
    """Find the last whole checkpoint of a work dir.

    ``last_checkpoint`` only decides which one is tried first: the path in it
    may be stale (the work dir was moved) or name a deleted or half-written file.

    Returns:
        Path of the checkpoint (None if there is no whole one) and notes on what
        was passed over.
    """
    folder = Path(work_dir)
    matches = [
        (path, re.fullmatch(r'(?:epoch|iter)_(\d+)', path.stem)) for path in folder.glob('*.pth')
    ]
    numbers = {path: int(match[1]) for path, match in matches if match}
    candidates = sorted(numbers, key=numbers.get, reverse=True)
    notes = []
    pointer = folder / 'last_checkpoint'
    text = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    if text:
        # Only the name: the stored absolute folder is wrong once the work dir has moved.
        named = folder / osp.basename(text)
        if named in numbers and numbers[candidates[0]] > numbers[named]:
            notes.append(f'{candidates[0].name} is there too; last_checkpoint says {named.name}.')
        candidates = [named, *(path for path in candidates if path != named)]
    for path in candidates:
        if not path.is_file():
            notes.append(f'{path.name}, named by last_checkpoint, does not exist.')
            continue
        problem = broken(path)
        if problem is None:
            return str(path), notes
        notes.append(f'{path.name} cannot be read ({problem}): the one before it is used.')
    return None, notes
