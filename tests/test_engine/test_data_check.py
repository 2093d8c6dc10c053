"""Missing data is one clear message."""

import pytest
from mmengine.config import Config

from mmattn.engine import check_data
from mmattn.engine.config import load_config
from mmattn.utils.errors import UserError


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        (
            'faster_rcnn_r50_scsa_1x_coco',
            ['data/coco/annotations/instances_train2017.json', 'data/coco/val2017', 'cocodataset'],
        ),
        ('upernet_r50_scsa_80k_ade20k', ['images/training', 'annotations/validation', 'csail']),
        ('resnet50_scsa_in1k', ['data/imagenet/train', 'data/imagenet/val', 'image-net.org']),
        ('faster_rcnn_r50_scsa_bccd', ['ImageSets/Main/trainval.txt', 'JPEGImages', 'VOC']),
    ],
)
def test_shipped_configs_name_what_is_missing(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg, _ = load_config(name)
    with pytest.raises(UserError) as error:
        check_data(cfg)
    for word in [*words, '--data-root', '--demo']:
        assert word in str(error.value)


def test_present_data_passes(project):
    cfg, _ = load_config('tiny.py')
    check_data(cfg, ('train', 'val', 'test'))


def test_only_the_loaders_of_the_run_count(project):
    cfg, _ = load_config('tiny.py')
    cfg.test_dataloader = dict(dataset=dict(type='CustomDataset', data_prefix='nowhere'))
    check_data(cfg)
    with pytest.raises(UserError, match='test_dataloader'):
        check_data(cfg, ('test',))


def test_wrong_kind_of_path(project):
    cfg, _ = load_config('tiny.py', ['train_dataloader.dataset.ann_file=train'])
    with pytest.raises(UserError, match='this is a folder'):
        check_data(cfg)


def test_evaluator_file_is_checked(project):
    cfg, _ = load_config('tiny.py')
    cfg.val_evaluator = [dict(type='CocoMetric', ann_file='gone.json')]
    with pytest.raises(UserError, match='gone.json.*val_evaluator'):
        check_data(cfg)


def test_cifar_is_not_downloaded_unasked(tmp_path):
    dataset = dict(type='CIFAR10', data_root=str(tmp_path))
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    with pytest.raises(UserError, match='cifar-10-batches-py'):
        check_data(cfg)
    cfg.train_dataloader.dataset.download = True
    check_data(cfg)


def test_remote_storage_is_left_alone():
    dataset = dict(type='CustomDataset', data_prefix='s3://bucket/train')
    check_data(Config(dict(train_dataloader=dict(dataset=dataset))))
