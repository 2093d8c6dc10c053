"""Configs of every kind of data set, and demos of few images, as fixtures."""

import copy
import functools
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.demo.tasks import TASKS

CONFIGS = Path(__file__).parents[2] / 'configs'
RESIZE = dict(type='Resize', scale=(1000, 600), keep_ratio=True)


@functools.cache
def shipped(name):
    return Config.fromfile(CONFIGS / f'{name}.py')


def voc(kind='VOCDataset'):
    part = dict(type=kind, data_root='data/VOCdevkit/', pipeline=[RESIZE])
    splits = [
        dict(
            part,
            ann_file=f'VOC{year}/ImageSets/Main/{split}.txt',
            data_prefix=dict(sub_data_root=f'VOC{year}/'),
        )
        for year, split in ((2007, 'trainval'), (2012, 'trainval'), (2007, 'test'))
    ]
    concat = dict(type='ConcatDataset', ignore_keys=['dataset_type'], datasets=splits[:2])
    return Config(
        dict(
            default_scope='mmdet',
            model=dict(backbone=dict(type='mmattn.ResNet', depth=50), head=dict(num_classes=20)),
            train_dataloader=dict(
                batch_size=2, dataset=dict(type='RepeatDataset', times=3, dataset=concat)
            ),
            val_dataloader=dict(batch_size=1, dataset=dict(splits[2], test_mode=True)),
            val_evaluator=dict(type='VOCMetric'),
            train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        )
    )


def cifar(kind='CIFAR100'):
    part = dict(type=kind, data_root='data/cifar', pipeline=[dict(type='PackInputs')])
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(backbone=dict(type='ResNet_CIFAR', depth=18), head=dict(num_classes=100)),
            train_dataloader=dict(batch_size=16, dataset=dict(part, split='train')),
            val_dataloader=dict(batch_size=16, dataset=dict(part, split='test')),
            val_evaluator=dict(type='Accuracy'),
            train_cfg=dict(by_epoch=True, max_epochs=200, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )


KINDS = {
    'faster_rcnn': ('mmdet', lambda: shipped('faster_rcnn_r50_scsa_1x_coco')),
    'voc': ('mmdet', voc),
    'lvis': ('mmdet', lambda: voc('LVISV1Dataset')),
    'nowhere': ('mmdet', lambda: voc('Nowhere')),
    'upernet': ('mmseg', lambda: shipped('upernet_r50_scsa_80k_ade20k')),
    'imagenet': ('mmpretrain', lambda: shipped('resnet50_scsa_in1k')),
    'cifar': ('mmpretrain', cifar),
}


@pytest.fixture
def config_of(tmp_path):
    """Builds the config of a kind, with a work_dir; skips where its toolbox is not installed."""

    def build(kind):
        scope, builder = KINDS[kind]
        pytest.importorskip(scope)
        cfg = copy.deepcopy(builder())
        cfg.work_dir = str(tmp_path / 'work')
        return cfg

    return build


@pytest.fixture
def few_images(monkeypatch):
    """Demos of one step and few small images, read in this process; their sizes."""
    for name, task in TASKS.items():
        # A classifier's folders are there for all of its classes.
        images = task.style.categories if name == 'classification' else 2
        size = dict(batch_size=images, train_images=images, val_images=images, workers=0)
        size.update(iterations=1, evaluations=1, side=min(task.side, 64))
        monkeypatch.setitem(TASKS, name, replace(task, **size))
    return TASKS
