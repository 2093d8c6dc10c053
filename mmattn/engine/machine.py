"""Fitting a config to the machine it runs on: devices, processes, workers."""

import os
import subprocess

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts, type_name

SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')
# What only these wrappers take; OptimWrapper would refuse it.
AMP_ONLY_KEYS = ('loss_scale', 'dtype', 'use_fsdp', 'opt_level', 'enabled', 'cast_model_outputs')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def adapt_to_machine(cfg: Config) -> list[str]:
    """Replace, in place, what this machine cannot run.

    Without an accelerator mixed precision becomes float32, the communication
    backend gloo, and DistributedDataParallel is told not to ask for a GPU.
    SyncBN becomes BN on a CPU and in a single process. Workers beyond the
    number of usable cores are cut.

    Args:
        cfg: Config to change; ``launcher`` says whether the run is distributed.

    Returns:
        One line for each replacement.
    """
    notes = []
    device = get_device()
    distributed = cfg.get('launcher', 'none') != 'none'
    notes += _full_precision(cfg, device)
    if device == 'cpu' or not distributed:
        notes += _plain_batch_norm(cfg, device)
    if device == 'cpu':
        _without_cuda(cfg, distributed)
        if distributed:
            notes.append('no CUDA device: the processes talk through gloo, not nccl.')
    notes += _loaders(cfg, device)
    return notes


def _full_precision(cfg: Config, device: str) -> list[str]:
    if device in ('cuda', 'npu', 'mlu', 'musa'):
        return []
    notes = []
    for wrapper in iter_dicts(cfg.get('optim_wrapper') or {}):
        name = type_name(wrapper)
        if name in ('AmpOptimWrapper', 'ApexOptimWrapper'):
            wrapper['type'] = 'OptimWrapper'
            for key in AMP_ONLY_KEYS:
                wrapper.pop(key, None)
            notes.append(f'mixed precision ({name}) needs CUDA: trains in float32.')
    for loop in ('val_cfg', 'test_cfg'):
        if (cfg.get(loop) or {}).get('fp16'):
            cfg[loop].fp16 = False
            notes.append(f'{loop}.fp16 needs CUDA: evaluates in float32.')
    return notes


def _plain_batch_norm(cfg: Config, device: str) -> list[str]:
    replaced = 0
    for node in iter_dicts(cfg._cfg_dict):
        if type_name(node) in SYNC_BN:
            node['type'] = 'BN'
            replaced += 1
    if cfg.get('sync_bn'):
        cfg.sync_bn = None
        replaced += 1
    if not replaced:
        return []
    why = 'on a CPU' if device == 'cpu' else 'in a single process'
    return [f'SyncBN cannot run {why}: BN instead.']


def _without_cuda(cfg: Config, distributed: bool) -> None:
    env_cfg = cfg.setdefault('env_cfg', {})
    env_cfg['cudnn_benchmark'] = False
    dist_cfg = env_cfg.setdefault('dist_cfg', {})
    dist_cfg['backend'] = 'gloo'
    if distributed:
        # mmengine's default wrapper passes device_ids=[LOCAL_RANK], which needs a GPU.
        wrapper = cfg.get('model_wrapper_cfg') or {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
        }
        wrapper.setdefault('type', 'MMDistributedDataParallel')
        wrapper['device_ids'] = None
        cfg.model_wrapper_cfg = wrapper


def _loaders(cfg: Config, device: str) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    cut = []
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        if cfg.get('default_scope') == 'mmpretrain':
            # mmpretrain's own train.py sets these; its configs rely on them.
            loader.setdefault('pin_memory', True)
            loader.setdefault('persistent_workers', True)
            loader.setdefault('collate_fn', {'type': 'default_collate'})
        if device == 'cpu':
            loader['pin_memory'] = False
        workers = loader.get('num_workers', 0)
        if workers > cores:
            cut.append(f'{name} {workers} -> {cores}')
            loader['num_workers'] = workers = cores
        if not workers:
            # torch refuses both without worker processes
            loader['persistent_workers'] = False
            loader.pop('prefetch_factor', None)
    return [f'worker processes cut to the {cores} usable cores: {", ".join(cut)}.'] if cut else []


def infer_launcher(launcher: str) -> str:
    """Return 'pytorch' for a process that torchrun started without ``--launcher``."""
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        return 'pytorch'
    return launcher


def init_distributed(cfg: Config) -> None:
    """Start the process group, unless the run has one process.

    mmengine's own ``init_dist`` selects a CUDA device before anything else and
    therefore fails without one; this sets up gloo directly in that case.

    Args:
        cfg: Config after :func:`adapt_to_machine`; reads ``launcher`` and ``env_cfg``.

    Raises:
        UserError: If the launcher's environment is missing, or there are more
            processes than GPUs on this machine.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or torch.distributed.is_initialized():
        return
    env_cfg = cfg.get('env_cfg') or {}
    dist_cfg = dict(env_cfg.get('dist_cfg') or {})
    try:
        local_rank = _export_ranks(launcher)
    except KeyError as error:
        raise UserError(
            f'--launcher {launcher}: the environment variable {error} is not set; start the '
            'script through tools/dist_train.sh, torchrun, srun or mpirun.'
        ) from error
    if get_device() == 'cpu':
        import datetime

        timeout = dist_cfg.get('timeout')
        torch.distributed.init_process_group(
            backend='gloo',
            **({} if timeout is None else {'timeout': datetime.timedelta(seconds=timeout)}),
        )
        return
    if get_device() == 'cuda' and local_rank >= torch.cuda.device_count():
        raise UserError(
            f'process {local_rank} of this machine has no GPU: there are '
            f'{torch.cuda.device_count()}. Start at most one process for each.'
        )
    from mmengine.dist import init_dist
    from mmengine.utils.dl_utils import set_multi_processing

    # before init_dist, which would choose 'spawn' for the workers otherwise
    set_multi_processing(**(env_cfg.get('mp_cfg') or {}), distributed=True)
    init_dist(launcher, **dist_cfg)


def _export_ranks(launcher: str) -> int:
    """Give torch the variables it reads, from those of the launcher; return the local rank."""
    env = os.environ
    if launcher == 'slurm':
        env['RANK'], env['WORLD_SIZE'] = env['SLURM_PROCID'], env['SLURM_NTASKS']
        env['LOCAL_RANK'] = env.get('SLURM_LOCALID', '0')
        if 'MASTER_ADDR' not in env:
            nodes = ['scontrol', 'show', 'hostnames', env['SLURM_NODELIST']]
            found = subprocess.run(nodes, capture_output=True, text=True, check=True)
            env['MASTER_ADDR'] = found.stdout.split()[0]
    elif launcher == 'mpi':
        env['RANK'] = env['OMPI_COMM_WORLD_RANK']
        env['WORLD_SIZE'] = env['OMPI_COMM_WORLD_SIZE']
        env['LOCAL_RANK'] = env['OMPI_COMM_WORLD_LOCAL_RANK']
    if launcher != 'pytorch':
        env.setdefault('MASTER_PORT', '29500')
    for name in ('MASTER_ADDR', 'RANK', 'WORLD_SIZE'):
        env[name]  # raises KeyError, which the caller words
    return int(env['LOCAL_RANK'])
