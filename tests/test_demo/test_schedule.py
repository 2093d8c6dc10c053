import dataclasses

import pytest
from mmengine.config import Config

from mmattn.demo.schedule import set_optimizer, shorten
from mmattn.demo.sizes import native_size, scale_sizes
from mmattn.demo.tasks import DENSE, TASKS, task_of

TASK = TASKS['detection']
PER_EPOCH = TASK.train_images // TASK.batch_size


def config(**changes):
    base = dict(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
            dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11]),
        ],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02)),
        default_hooks=dict(logger=dict(interval=50), checkpoint=dict(interval=1)),
    )
    return Config({**base, **changes})


def test_epochs_are_shortened_with_their_schedulers():
    cfg = config()
    notes = shorten(cfg, TASK)
    epochs = cfg.train_cfg.max_epochs
    assert epochs * PER_EPOCH <= TASK.iterations
    warm_up, steps = cfg.param_scheduler
    assert 1 < warm_up.end <= 0.2 * TASK.iterations
    assert steps.end == epochs
    assert steps.milestones == sorted({round(8 / 12 * epochs), round(11 / 12 * epochs)})
    assert cfg.default_hooks.checkpoint.interval == cfg.train_cfg.val_interval
    assert '12 epochs' in notes[0]


def test_iterations_are_shortened_with_their_schedulers():
    cfg = config(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000),
        param_scheduler=[
            dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
            dict(type='PolyLR', eta_min=1e-4, begin=1500, end=80000, by_epoch=False),
        ],
    )
    shorten(cfg, TASK)
    set_optimizer(cfg, TASK)
    assert cfg.train_cfg.max_iters == TASK.iterations
    warm_up, poly = cfg.param_scheduler
    assert warm_up.end == pytest.approx(0.1 * TASK.iterations, abs=1)
    assert poly.end == TASK.iterations
    assert poly.eta_min == pytest.approx(1e-4 * TASK.learning_rate / 0.02)


def test_a_short_schedule_stays():
    cfg = config(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1),
        param_scheduler=None,
    )
    shorten(cfg, TASK)
    assert cfg.train_cfg.max_epochs == 1


def test_averaged_weights_are_left_out():
    cfg = config(custom_hooks=[dict(type='EMAHook'), dict(type='NumClassCheckHook')])
    notes = shorten(cfg, TASK)
    assert [hook.type for hook in cfg.custom_hooks] == ['NumClassCheckHook']
    assert any('EMAHook' in note for note in notes)


@pytest.mark.parametrize('iterations', [1, 300])
def test_strong_augmentation_ends_early(iterations):
    hooks = [dict(type='A', switch_epoch=280), dict(type='B', num_last_epochs=15)]
    task = dataclasses.replace(TASKS[DENSE], iterations=iterations)
    cfg = config(train_cfg=dict(max_epochs=300), custom_hooks=hooks)
    shorten(cfg, task)
    epochs = cfg.train_cfg.max_epochs
    assert epochs == max(1, iterations // 20)
    switch, last = cfg.custom_hooks
    assert switch.switch_epoch == epochs - last.num_last_epochs == max(1, epochs // 3)


def test_a_loop_without_a_length_is_refused():
    with pytest.raises(ValueError, match='max_epochs'):
        shorten(config(train_cfg=dict(type='TrainLoop')), TASK)


def test_sizes_are_scaled_and_ratios_are_not():
    pipeline = [
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='RandomChoiceResize', scales=[(1333, 640), (1333, 800)]),
        dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0)),
        dict(type='RandomApply', transforms=[dict(type='RandomCrop', crop_size=(0.3, 0.5))]),
        dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.08, 1.0)),
        dict(type='Pad', size_divisor=32),
    ]
    scale_sizes(pipeline, 0.25)
    assert pipeline[0]['scale'] == (334, 200)
    assert pipeline[1]['scales'] == [(334, 160), (334, 200)]
    assert pipeline[2] == dict(type='RandomResize', scale=(512, 128), ratio_range=(0.5, 2.0))
    assert pipeline[3]['transforms'][0]['crop_size'] == (0.3, 0.5)
    assert pipeline[4] == dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.08, 1.0))
    assert pipeline[5] == dict(type='Pad', size_divisor=32)


def test_inputs_stay_large_enough_and_windows_overlap_as_before():
    small = dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
    large = dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    affine = dict(type='RandomAffine', border=(-320, -320))
    scale_sizes([small, large, affine], 0.25)
    assert small == dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
    assert large == dict(mode='slide', crop_size=(128, 128), stride=(86, 86))
    assert affine['border'] == (-80, -80)


@pytest.mark.parametrize(
    ('assigner', 'steps'), [('mmdet.SimOTAAssigner', 300), ('MaxIoUAssigner', 100)]
)
def test_detectors_that_choose_their_own_targets_take_more_steps(assigner, steps):
    model = dict(train_cfg=dict(assigner=dict(type=assigner)), bbox_head=dict(num_classes=80))
    assert task_of(model, {'detection'}).iterations == steps


def test_the_test_size_is_the_last_one():
    assert native_size([dict(type='ResizeEdge', scale=256), dict(crop_size=224)]) == (224, 224)
    assert native_size([dict(type='Resize', scale=(1333, 800))]) == (1333, 800)
    assert native_size([dict(type='PackInputs')]) is None


def test_no_scheduler_shrinks_to_nothing():
    task = dataclasses.replace(TASKS['segmentation'], iterations=1, evaluations=1)
    cfg = dict(
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=300),
        param_scheduler=[
            dict(type='LinearLR', by_epoch=False, begin=0, end=20),
            dict(type='PolyLR', by_epoch=False, begin=20, end=300),
            dict(type='CosineAnnealingLR', by_epoch=False, begin=20),
        ],
    )
    shorten(cfg, task)
    assert [(s['begin'], s.get('end')) for s in cfg['param_scheduler']] == [
        (0, 1),
        (0, 1),
        (0, None),
    ]
