"""Preparing a config: toolbox, work dir, --amp, --auto-scale-lr, weight decay, best checkpoint."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper

from mmattn.engine.prepare import (
    enable_amp,
    enable_auto_scale_lr,
    main_metric,
    name_weight_decay,
    prepare,
    require_toolbox,
    set_save_best,
    set_seed,
    set_work_dir,
)
from mmattn.utils.errors import UserError


def test_steps_run_in_order_and_their_notes_are_collected_once(project):
    def first(cfg):
        cfg.trace = [cfg.work_dir]
        return ['a', 'b']

    def second(cfg):
        cfg.trace += ['second']
        return (note for note in ['b', 'c'])

    cfg, notes = prepare('tiny.py', ['work_dir=x'], [first, None, False, second, lambda cfg: None])
    assert cfg.trace == ['x', 'second']
    assert notes == ["--cfg-options work_dir: a new key, the config had no 'work_dir'.", *'abc']


@pytest.mark.parametrize(
    ('scope', 'words'),
    [('mmdett', 'Did you mean mmdet?'), ('somewhere', 'mmdet, mmseg, mmpretrain')],
)
def test_an_unknown_toolbox_is_refused(scope, words):
    with pytest.raises(UserError, match=f'default_scope={scope!r}.*{words}'):
        require_toolbox(Config(dict(default_scope=scope)))


def test_a_toolbox_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setattr('mmengine.registry.MODELS._children', {})
    with pytest.raises(UserError, match='mmseg.*not installed.*doctor'):
        require_toolbox(Config(dict(default_scope='mmseg')))


def test_work_dir_of_command_config_and_demo():
    cfg = Config()
    set_work_dir(cfg, None, 'a/b.py')
    assert cfg.work_dir == 'work_dirs/b'
    set_work_dir(cfg, None, 'a/b.py', demo=True)
    assert cfg.work_dir == 'work_dirs/b_demo'
    set_work_dir(cfg, 'x', 'a/b.py', demo=True)
    assert cfg.work_dir == 'x'


def test_seed_keeps_what_else_the_config_says():
    cfg = Config(dict(randomness=dict(deterministic=True, seed=1)))
    set_seed(cfg, 5)
    assert cfg.randomness == dict(deterministic=True, seed=5)


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


@pytest.mark.parametrize(
    ('evaluator', 'metric'),
    [
        ({'type': 'CocoMetric', 'metric': ['bbox', 'segm']}, 'coco/bbox_mAP'),
        ({'type': 'mmdet.CocoMetric', 'metric': 'segm'}, 'coco/segm_mAP'),
        ({'type': 'VOCMetric'}, 'pascal_voc/mAP'),
        ({'type': 'mmattn.VisDroneMetric'}, 'visdrone/bbox_mAP'),
        ({'type': 'IoUMetric'}, 'mIoU'),
        ({'type': 'IoUMetric', 'iou_metrics': ['mDice', 'mIoU']}, 'mDice'),
        ({'type': 'IoUMetric', 'iou_metrics': 'mFscore'}, 'mFscore'),
        ({'type': 'Accuracy', 'topk': (5, 1)}, 'accuracy/top1'),
        ({'type': 'Accuracy', 'prefix': 'x'}, 'x/top1'),
        ({'type': 'Unknown'}, None),
    ],
)
def test_main_metric(evaluator, metric):
    assert main_metric(evaluator) == metric


def test_best_checkpoint_unless_the_config_decides():
    cfg = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': [{'type': 'IoUMetric'}]})
    assert set_save_best(cfg) == []
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    cfg.default_hooks.checkpoint.save_best = None
    set_save_best(cfg)
    assert cfg.default_hooks.checkpoint.save_best is None
    other = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': {'type': 'X'}})
    assert 'save_best' in set_save_best(other)[0]
