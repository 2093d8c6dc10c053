"""Fitting a config to the machine it runs on: devices, SyncBN, workers."""

import os

from mmengine.config import Config
from mmengine.device import get_device

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
    Returns one line for each replacement.
    """
    device = get_device()
    distributed = cfg.get('launcher', 'none') != 'none'
    notes = [] if device in ('cuda', 'npu', 'mlu', 'musa') else _full_precision(cfg)
    if device == 'cpu' or not distributed:
        notes += _plain_batch_norm(cfg, device)
    if device == 'cpu':
        _without_cuda(cfg, distributed)
        if distributed:
            notes.append('no CUDA device: the processes talk through gloo, not nccl.')
    notes += _loaders(cfg, device)
    return notes


def _full_precision(cfg: Config) -> list[str]:
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
    replaced = [node for node in iter_dicts(cfg._cfg_dict) if type_name(node) in SYNC_BN]
    for node in replaced:
        node['type'] = 'BN'
    if cfg.get('sync_bn'):
        cfg.sync_bn = None
    elif not replaced:
        return []
    why = 'on a CPU' if device == 'cpu' else 'in a single process'
    return [f'SyncBN cannot run {why}: BN instead.']


def _without_cuda(cfg: Config, distributed: bool) -> None:
    env_cfg = cfg.setdefault('env_cfg', {})
    env_cfg['cudnn_benchmark'] = False
    env_cfg.setdefault('dist_cfg', {})['backend'] = 'gloo'
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
    for name in filter(cfg.get, LOADERS):
        loader = cfg[name]
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
