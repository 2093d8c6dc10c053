"""--amp, --auto-scale-lr, weight decay."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper

from mmattn.engine.prepare import enable_amp, enable_auto_scale_lr, name_weight_decay
from mmattn.utils.errors import UserError


def test_auto_scale_lr_needs_a_base_batch_size():
    with pytest.raises(UserError, match='base_batch_size'):
        enable_auto_scale_lr(Config())
    cfg = Config({'auto_scale_lr': {'base_batch_size': 16}})
    enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True


@pytest.mark.parametrize('kind', ['OptimWrapper', OptimWrapper, AmpOptimWrapper, None])
def test_amp_with_names_and_classes(kind):
    cfg = Config(dict(optim_wrapper=dict(type=kind) if kind else dict(clip_grad=None)))
    enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'


def test_amp_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match='ApexOptimWrapper'):
        enable_amp(Config({'optim_wrapper': {'type': 'ApexOptimWrapper'}}))


@pytest.mark.parametrize(
    ('kind', 'decay'), [('AdamW', 0.01), (torch.optim.AdamW, 0.01), ('SGD', 0)]
)
def test_decay_factors_work_without_a_weight_decay(kind, decay):
    attention = {'.attn_': dict(lr_mult=10.0, decay_mult=0.0)}
    wrapper = dict(optimizer=dict(type=kind, lr=0.1), paramwise_cfg=dict(custom_keys=attention))
    cfg = Config(dict(optim_wrapper=dict(wrapper, type='OptimWrapper')))
    name_weight_decay(cfg)
    model = torch.nn.ModuleDict(dict(stem=torch.nn.Linear(1, 1, bias=False)))
    model.add_module('block', torch.nn.ModuleDict(dict(attn_x=torch.nn.Linear(1, 1, bias=False))))
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    stem, attn = (next(g for g in groups if g['params'] == [p]) for p in model.parameters())
    assert (stem['weight_decay'], attn['weight_decay']) == (decay, 0)
    assert attn['lr'] == pytest.approx(1)


def test_a_weight_decay_that_is_given_or_not_needed_stays():
    given = dict(
        optimizer=dict(type='AdamW', weight_decay=0.3), paramwise_cfg=dict(norm_decay_mult=0)
    )
    cfg = Config(dict(optim_wrapper=copy.deepcopy(given)))
    name_weight_decay(cfg)
    assert cfg.optim_wrapper == given
    plain = dict(
        optimizer=dict(type='AdamW'), paramwise_cfg=dict(custom_keys=dict(a=dict(lr_mult=2)))
    )
    cfg = Config(dict(optim_wrapper=copy.deepcopy(plain)))
    name_weight_decay(cfg)
    assert cfg.optim_wrapper == plain
