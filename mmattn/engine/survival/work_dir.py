"""One run to a work dir at a time, and no run over what an earlier one has left."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from mmattn.engine.distributed import on_first, restarts
from mmattn.engine.resume import POINTER, find_resumable
from mmattn.engine.survival.lock import Lock
from mmattn.utils.errors import UserError

CHECKPOINT = re.compile(r'(epoch|iter)_([1-9]\d*)\.pth|best_.+\.pth')
# What only describes checkpoints; the second is engine.summary's.
DESCRIBED_BY = (POINTER, 'summary.json')

# Of this process: work dir -> its lock, or None where the first process holds it.
_held: dict[str, Lock | None] = {}


@contextmanager
def locked(folder: str) -> Iterator[list[str]]:
    """Keep other runs out of a work dir; nothing if this process does so already.

    The first process of a run does it for all. Yields notes for the user.

    Raises:
        UserError: In every process, if a run that is alive is in the work dir.
    """
    key = os.path.realpath(folder)
    if key in _held:
        yield []
        return

    def take() -> str | None:
        _held[key] = Lock(folder)
        return _held[key].note

    note = on_first(take)
    lock = _held.setdefault(key, None)
    try:
        yield [note] if note else []
    finally:
        del _held[key]
        if lock is not None:
            lock.release()


def lost_to(folder: str) -> str | None:
    """Who has taken over a work dir that this process had; None if it has it still."""
    lock = _held.get(os.path.realpath(folder))
    return lock and lock.lost


def left_behind(folder: str | Path) -> list[Path]:
    """Checkpoints of an earlier run in a work dir, and what describes them; the last one first."""
    found = {}
    for path in Path(folder).glob('*.pth'):
        if match := CHECKPOINT.fullmatch(path.name):
            found[path] = (match[1] is not None, path.stat().st_mtime_ns, path.name)
    described = (Path(folder, name) for name in DESCRIBED_BY)
    return [*sorted(found, key=found.get, reverse=True), *filter(Path.exists, described)]


def begun_before(runner: Runner) -> list[str]:
    """Take up a job that was started again where it has ended; warn of an earlier run.

    Returns:
        Notes for the user.
    """
    last = on_first(lambda: find_resumable(runner.work_dir)[0]) if restarts() else None
    if last is not None and runner._resume != 'auto':
        runner._resume, runner._load_from = 'auto', last
        return [f'the job was started again (restart {restarts()}): continues from {last}.']
    found = [] if runner._resume else left_behind(runner.work_dir)
    if not found:
        return []
    return [
        f'{runner.work_dir} holds an earlier run ({found[0].name}), which this one overwrites '
        'from its first checkpoint on; to continue it, resume.'
    ]


def claim(cfg: Config, held: ExitStack, may_be_used: Callable[[str], bool]) -> list[str]:
    """Lock a config's work dir until ``held`` is closed, before anything is done there.

    Args:
        may_be_used: Whether a folder may hold an earlier run; a job that its launcher has
            started again is not asked.

    Returns:
        Notes for the user.

    Raises:
        UserError: In every process, if another run is in the work dir, or an earlier one has
            left its checkpoints there.
    """
    folder = cfg.work_dir
    notes = held.enter_context(locked(folder))

    def check() -> None:
        found = left_behind(folder)
        if found and not may_be_used(folder):
            raise UserError(
                f'{folder} holds an earlier run ({found[0].name}). To continue it: --resume; to '
                'keep it and begin another: --work-dir DIR; to delete its checkpoints and begin '
                'anew: --overwrite.'
            )

    if not restarts():
        on_first(check)
    return notes


def clear(folder: str) -> list[str]:
    """Delete the checkpoints of an earlier run, and what describes them; return notes.

    A job that its launcher has started again loses nothing.
    """

    def delete() -> int:
        found = [] if restarts() else left_behind(folder)
        for path in found:
            path.unlink()
        return len([path for path in found if path.suffix == '.pth'])

    count = on_first(delete)
    return [f'note: {count} checkpoints of an earlier run are deleted.'] * bool(count)
