"""Adapting a config to a machine."""

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import adapt_to_machine

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without CUDA')


@needs_cpu
def test_mixed_precision_becomes_float32():
    cfg = Config(
        {
            'optim_wrapper': {
                'type': 'AmpOptimWrapper',
                'loss_scale': 'dynamic',
                'dtype': 'float16',
                'optimizer': {'type': 'SGD', 'lr': 0.1},
            },
            'val_cfg': {'fp16': True},
        }
    )
    notes = adapt_to_machine(cfg)
    assert cfg.optim_wrapper == {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}
    assert cfg.val_cfg.fp16 is False
    assert 'float32' in notes[0]
    assert adapt_to_machine(cfg) == []


def test_sync_bn_becomes_bn_wherever_it_stands():
    cfg = Config(
        {
            'norm_cfg': {'type': 'SyncBN'},
            'model': {'head': [{'norm_cfg': {'type': 'SyncBN', 'eps': 1e-3}}]},
        }
    )
    notes = adapt_to_machine(cfg)
    assert cfg.model['head'][0]['norm_cfg'] == {'type': 'BN', 'eps': 1e-3}
    assert 'SyncBN' not in cfg.pretty_text
    assert len(notes) == 1


@needs_cpu
def test_distributed_without_cuda_uses_gloo():
    cfg = Config({'launcher': 'pytorch', 'env_cfg': {'dist_cfg': {'backend': 'nccl'}}})
    adapt_to_machine(cfg)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.model_wrapper_cfg.device_ids is None


def test_loaders_fit_the_machine():
    cfg = Config(
        {
            'default_scope': 'mmpretrain',
            'train_dataloader': {'num_workers': 4096},
            'val_dataloader': {
                'num_workers': 0,
                'persistent_workers': True,
                'prefetch_factor': 2,
            },
        }
    )
    notes = adapt_to_machine(cfg)
    assert 0 < cfg.train_dataloader.num_workers < 4096
    assert any('4096' in note for note in notes)
    assert cfg.val_dataloader.persistent_workers is False
    assert 'prefetch_factor' not in cfg.val_dataloader
    assert cfg.train_dataloader.collate_fn == {'type': 'default_collate'}
