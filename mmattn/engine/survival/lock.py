"""The lock of a work dir: a file that names the process which trains there."""

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmattn.engine.distributed import restarts
from mmattn.utils.errors import UserError

LOCK_FILE = 'run.lock'
# Seconds between two signs of life, and without one until a run on another machine counts as dead.
BEAT, STALE = 60, 600


class Lock:
    """The file in a work dir that names the process which trains there.

    Args:
        folder: The work dir; made if it is not there.

    Raises:
        UserError: If another run that is alive holds the lock; says which.

    Attributes:
        note: What was taken over from a run that is dead; None if nothing was.
        lost: Who took it over from this process, which had given no sign of life; or None.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder, LOCK_FILE)
        self.note: str | None = None
        self.lost: str | None = None
        self.mine = dict(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=time.strftime('%Y-%m-%d %H:%M:%S'),
            command=shlex.join(sys.argv),
            born=_born(os.getpid()),
            machine=_machine(),
            job=_job(),
            restarts=restarts(),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while not self._created():
                self._take_over()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f'{self.path} cannot be written: {reason}.', 1) from error
        self._ended = threading.Event()
        threading.Thread(target=self._live, daemon=True).start()

    def release(self) -> None:
        """Give the work dir free."""
        self._ended.set()
        if _read(self.path) == self.mine:
            self.path.unlink(missing_ok=True)

    def _created(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return _read(self.path) == self.mine
        with os.fdopen(handle, 'w') as file:
            json.dump(self.mine, file)
        return True

    def _take_over(self) -> None:
        """Put this process into the lock of a dead one; raise if it is alive."""
        with suppress(FileNotFoundError), _alone(self.path):
            other, silent = _read(self.path), _seconds_since_life(self.path)
            who = _described(other)
            if self._is_alive(other, silent):
                raise UserError(self._refusal(other, who, silent))
            part = self.path.with_name(f'.{LOCK_FILE}.{os.getpid()}')
            part.write_text(json.dumps(self.mine))
            os.replace(part, self.path)
            self.note = f'the lock of {who}, which is dead, was taken over.'

    def _is_alive(self, other: dict[str, Any], silent: float) -> bool:
        job, earlier = other.get('job'), other.get('restarts', 0) < self.mine['restarts']
        if job and job == self.mine['job'] and earlier:
            return False  # who starts a job again has ended it
        if self.mine['born'] and other.get('host') == self.mine['host']:
            if other.get('machine') == self.mine['machine']:
                return _born(other.get('pid')) == other.get('born')
            here, there = self.mine['machine'].split()[0], str(other.get('machine')).split()[0]
            if here != there:
                return False  # the machine has been started anew since
        return silent < STALE

    def _refusal(self, other: dict[str, Any], who: str, silent: float) -> str:
        text = (
            f'{self.path.parent} is in use by {who}. Wait for its end, or use another --work-dir.'
        )
        if other.get('machine') == self.mine['machine']:
            return text
        return (
            f'{text} If it is dead: it counts as such {STALE // 60} minutes after its last sign '
            f'of life, which was {max(0, round(silent))} s ago, or once {self.path} is deleted.'
        )

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            other = _read(self.path)
            if other and other != self.mine:
                self.lost = _described(other)
                return
            with suppress(OSError):  # the disk may be back at the next
                os.utime(self.path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Of several who open a file, one at a time; FileNotFoundError if another has replaced it."""
    try:
        import fcntl
    except ImportError:  # Windows, which replaces no open file
        yield
        return
    with open(path) as file:
        with suppress(OSError):  # a file system without such locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_ino != os.stat(path).st_ino:
            raise FileNotFoundError(path)
        yield


def _machine() -> str:
    """One start of one machine, and one space of process ids on it."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str | None:
    """When a process of this machine began; None if there is none, or nobody can tell.

    A process id may be given again; together with its beginning it is unique.
    """
    try:
        # Behind the name, which may hold anything: state, ..., and as the 20th the beginning.
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        return None if fields[0] in 'ZX' else fields[19]
    except (OSError, IndexError):
        pass
    if sys.platform == 'darwin':
        command = ['ps', '-o', 'lstart=', '-p', str(pid)]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    return None


def _job() -> str | None:
    """The launcher's name for the job, which stays the same when it is started again."""
    run, job = os.environ.get('TORCHELASTIC_RUN_ID', 'none'), os.environ.get('SLURM_JOB_ID')
    return f'Slurm {job}' if job else None if run == 'none' else f'torchrun {run}'


def _read(path: Path) -> dict[str, Any]:
    """What a lock says; {} if it is gone or cannot be read."""
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _described(lock: dict[str, Any]) -> str:
    said = [lock.get(name) for name in ('pid', 'host', 'since', 'command')]
    return 'process {} on {} (since {}: {})'.format(*said) if all(said) else 'an unnamed process'


def _seconds_since_life(path: Path) -> float:
    """Age of the last sign of life, by the clock of the file system, which others may share."""
    probe = path.with_name(f'.{LOCK_FILE}.{os.getpid()}')
    probe.touch()
    age = probe.stat().st_mtime - path.stat().st_mtime
    probe.unlink()
    return age
