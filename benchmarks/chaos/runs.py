"""Trainings in forked processes that can be killed, and what can be seen of them from outside.

The toolboxes are imported once; a run is a fork, and begins within a fraction of a second.
"""

import mmap
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from mmengine.hooks import Hook

from mmattn.engine import cli
from mmattn.engine.resume import find_resumable
from mmattn.engine.train import train
from mmattn.registry import HOOKS

# In shared memory, of the process that forks: iterations done, saves begun, saves ended.
BOARD = mmap.mmap(-1, 24)
ITERATION, BEGUN, ENDED = range(3)
LIMIT = 180.0  # seconds after which a run counts as hanging


def board(place: int, value: int | None = None) -> int:
    """Read, or write, a number that all processes see."""
    if value is not None:
        struct.pack_into('q', BOARD, 8 * place, value)
    return struct.unpack_from('q', BOARD, 8 * place)[0]


@HOOKS.register_module()
class ChaosHook(Hook):
    """Says how far the first process is; takes its time, so that a kill can hit anything."""

    priority = 'VERY_LOW'

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.rank == 0:
            board(ITERATION, runner.iter + 1)
        time.sleep(self.pause)


def slow_disk(seconds: float) -> None:
    """Have each flush to the disk take a while, and the others see it."""
    flush = os.fsync

    def fsync(handle: int) -> None:
        board(BEGUN, board(BEGUN) + 1)
        time.sleep(seconds)
        flush(handle)
        board(ENDED, board(ENDED) + 1)

    os.fsync = fsync


@dataclass
class Trial:
    """A training that is started until it ends."""

    config: Path
    work_dir: Path
    log: Path
    ranks: int = 1
    slow: float = 0.0  # seconds of a flush
    pids: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Begin, or go on: the same call, as ``--resume`` is the same word."""
        board(ITERATION, self.kept())
        board(BEGUN, 0), board(ENDED, 0)
        for folder in (self.work_dir, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(('localhost', 0))
            port = free.getsockname()[1]
        self.statuses = []
        self.pids = [self._fork(rank, port) for rank in range(self.ranks)]

    def _fork(self, rank: int, port: int) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            torch.set_num_threads(1)
            if self.slow:
                slow_disk(self.slow)
            launcher = 'none'
            if self.ranks > 1:
                launcher = 'pytorch'
                names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=self.ranks)
                names.update(LOCAL_WORLD_SIZE=self.ranks, MASTER_PORT=port, MASTER_ADDR='localhost')
                os.environ.update({name: str(value) for name, value in names.items()})
            options = dict(work_dir=str(self.work_dir), resume='auto', launcher=launcher)
            command = partial(train, str(self.config), **options)
            status = cli.run(command)
        finally:
            sys.stdout.flush()
            os._exit(status)

    def kept(self) -> int:
        """Iterations in the newest sound checkpoint."""
        path, _ = find_resumable(str(self.work_dir)) if self.work_dir.is_dir() else (None, [])
        if path is None:
            return 0
        return torch.load(path, map_location='cpu', weights_only=True)['meta']['iter']

    def running(self) -> bool:
        """Whether a process is; collects the exit statuses of those that ended."""
        for pid in list(self.pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self.pids.remove(pid)
                self.statuses.append(os.waitstatus_to_exitcode(status))
        return bool(self.pids)

    def wait(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Until something holds, or the run ends; whether it runs still.

        Raises:
            TimeoutError: If it hangs.
        """
        end = time.monotonic() + LIMIT
        while self.running():
            if until():
                return True
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                raise TimeoutError(f'{self.work_dir} hangs: {self.log}')
            time.sleep(0.002)
        return False

    def send(self, number: int, one: int | None = None) -> None:
        """A signal to all processes, or to one; after SIGKILL the launcher ends the others."""
        for pid in self.pids if one is None else [self.pids[one]]:
            os.kill(pid, number)
        if one is not None and number == signal.SIGKILL:
            deadline = time.monotonic() + 10
            while self.running() and time.monotonic() < deadline:
                time.sleep(0.05)
            self.send(number)
        if number == signal.SIGKILL:
            while self.running():
                time.sleep(0.002)


def final_weights(work_dir: Path) -> dict[str, torch.Tensor]:
    """The weights that a finished run has left."""
    path, _ = find_resumable(str(work_dir))
    return torch.load(path, map_location='cpu', weights_only=True)['state_dict']


def identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether weights are the same bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
