"""The processes of a run: who started them, and who speaks for them."""

import datetime
import hashlib
import multiprocessing
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, init_dist, is_main_process
from mmengine.utils.dl_utils import set_multi_processing

from mmattn.utils.errors import UserError

T = TypeVar('T')
# Where torchrun, and other launchers, say a process's number in the run and on its machine, and
# how many there are.
VARIABLES = {
    'RANK': dict(slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK'),
    'WORLD_SIZE': dict(slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE'),
    'LOCAL_RANK': dict(slurm='SLURM_LOCALID', mpi='OMPI_COMM_WORLD_LOCAL_RANK'),
    'LOCAL_WORLD_SIZE': dict(slurm='SLURM_NTASKS_PER_NODE', mpi='OMPI_COMM_WORLD_LOCAL_SIZE'),
}


def _number(name: str) -> int:
    values = (os.environ.get(each) for each in (name, *VARIABLES[name].values()))
    return int(next(filter(None, values), 0))


def speaks_first() -> bool:
    """Whether this is the first process of its machine."""
    return _number('LOCAL_RANK') == 0


def say(lines: Iterable[str]) -> None:
    """Print notes, on the first process only."""
    if _number('RANK') == 0:
        for line in lines:
            print(line, flush=True)


def worded(message: str, by_all: bool = False) -> str | None:
    """What this process prints about an error; None if another one says the same.

    Any process may be the one that fails. Once they know each other, the first with a
    message prints it; before that, the first of each machine does.

    Args:
        by_all: Whether every process has the message.
    """
    first = speaks_first()
    if by_all:
        first = _number('RANK') == 0
    elif dist.is_available() and dist.is_initialized():
        key = f'mmattn/{hashlib.sha256(message.encode()).hexdigest()}'
        try:
            first = dist.distributed_c10d._get_default_store().add(key, 1) == 1
        except RuntimeError:  # the process that holds the store has ended
            first = True
    rank = _number('RANK')
    who = f' (process {rank}, on {socket.gethostname()})' if rank else ''
    return f'error{who}: {message}' if first else None


def on_first(task: Callable[[], T]) -> T:
    """Do something in the first process; its result, or its UserError, is that of all."""
    shared = [None, None, 0]
    if is_main_process():
        try:
            shared[0] = task()
        except UserError as error:
            shared[1:] = str(error), error.exit_code
    broadcast_object_list(shared)
    if shared[1] is not None:
        raise UserError(*shared[1:])
    return shared[0]


def restarts() -> int:
    """How often the launcher has started this job again: torchrun, or Slurm after a requeue."""
    counts = (os.environ.get(f'{name}_RESTART_COUNT') for name in ('TORCHELASTIC', 'SLURM'))
    return sum(int(count or 0) for count in counts)


def another_ended(error: BaseException) -> bool:
    """Whether an error is gloo's or NCCL's about a process that is not there any more."""
    words = 'closed by peer|reset by peer|Broken pipe|remote process exited|Socket closed'
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return several and isinstance(error, RuntimeError) and bool(re.search(words, str(error)))


def leave_together(status: int = 0) -> None:
    """End the processes of a distributed run at the same moment, without teardown.

    Seen: a gloo process that ends first aborts in a thread of its own ('terminate
    called without an active exception'), and torchrun then kills the others before they
    have printed their results. Everything is written by now, so teardown is skipped.
    """
    if dist.is_available() and dist.is_initialized():
        # The others may have left already.
        with suppress(RuntimeError):
            dist.barrier()
        for worker in multiprocessing.active_children():
            worker.terminate()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def init_distributed(cfg: Config, launcher: str) -> None:
    """Start the process group of a config's run, unless the run has one process.

    mmengine's own ``init_dist`` selects a CUDA device before anything else and
    therefore fails without one; this sets up gloo directly in that case. The config
    gets its ``launcher``; a process that torchrun started needs not be told.

    Raises:
        UserError: If the launcher's environment is missing, or there are more
            processes than GPUs on this machine.
    """
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        launcher = 'pytorch'
    cfg.launcher = launcher
    if launcher == 'none' or dist.is_initialized():
        return
    env_cfg = cfg.get('env_cfg') or {}
    dist_cfg = dict(env_cfg.get('dist_cfg') or {})
    try:
        _export_ranks(launcher)
    except KeyError as error:
        raise UserError(
            f'--launcher {launcher}: the environment variable {error} is not set; start the '
            'script through tools/dist_train.sh, torchrun, srun or mpirun.'
        ) from error
    if get_device() == 'cpu':
        timeout = dist_cfg.get('timeout')
        limit = {} if timeout is None else {'timeout': datetime.timedelta(seconds=timeout)}
        dist.init_process_group(backend='gloo', **limit, **_meeting_again())
        return
    processes = max(_number('LOCAL_WORLD_SIZE'), _number('LOCAL_RANK') + 1)
    if get_device() == 'cuda' and processes > torch.cuda.device_count():
        gpus = f'{torch.cuda.device_count()} GPUs'
        raise UserError(f'{processes} processes on a machine with {gpus}: start at most one each.')
    # before init_dist, which would choose 'spawn' for the workers otherwise
    set_multi_processing(**(env_cfg.get('mp_cfg') or {}), distributed=True)
    init_dist(launcher, **dist_cfg, **_meeting_again())


def _meeting_again() -> dict[str, Any]:
    """Where processes meet that torchrun has started again: arguments of init_process_group.

    From torch 2.4 on it hands them the store of the first start, in which they would find the
    addresses of those that are dead.
    """
    count = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    if count == '0':
        return {}
    store, rank, world_size = next(dist.rendezvous('env://'))
    store = dist.PrefixStore(f'restart_{count}', store)
    return dict(store=store, rank=rank, world_size=world_size)


def _export_ranks(launcher: str) -> None:
    """Give torch the variables it reads, from those of the launcher."""
    env = os.environ
    if launcher != 'pytorch':
        for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
            env[name] = env[VARIABLES[name][launcher]]
        env.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in env:
        nodes = ['scontrol', 'show', 'hostnames', env['SLURM_NODELIST']]
        found = subprocess.run(nodes, capture_output=True, text=True, check=True)
        env['MASTER_ADDR'] = found.stdout.split()[0]
    for name in ('MASTER_ADDR', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        env[name]  # raises KeyError, which the caller words
