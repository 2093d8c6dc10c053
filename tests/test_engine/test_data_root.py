"""--data-root moves every path of loaders and evaluators."""

import os

import pytest
from mmengine.config import Config

from mmattn.engine import set_data_root
from mmattn.utils.errors import UserError


def coco(root='data/coco/', **changes):
    dataset = {
        'type': 'CocoDataset',
        'data_root': root,
        'ann_file': 'annotations/instances_val2017.json',
        'data_prefix': {'img': 'val2017/'},
        **changes,
    }
    joined = (root or 'data/coco/') + 'annotations/instances_val2017.json'
    return Config(
        {
            'data_root': root,
            'model': {'path': 'data/coco/keep'},
            'train_dataloader': {'dataset': {'type': 'RepeatDataset', 'dataset': dataset}},
            'val_dataloader': {'dataset': dataset},
            'test_dataloader': {'dataset': {'type': 'ConcatDataset', 'datasets': [dataset]}},
            'val_evaluator': {'type': 'CocoMetric', 'ann_file': joined},
            'test_evaluator': [{'type': 'CocoMetric', 'ann_file': joined}],
        }
    )


def test_wrappers_evaluators_and_variables_move(tmp_path):
    cfg = coco()
    set_data_root(cfg, str(tmp_path))
    new = f'{tmp_path}/'
    assert cfg.data_root == new
    assert cfg.train_dataloader.dataset.dataset.data_root == new
    assert cfg.test_dataloader.dataset.datasets[0].data_root == new
    assert cfg.val_dataloader.dataset.ann_file == 'annotations/instances_val2017.json'
    assert cfg.val_evaluator.ann_file == new + 'annotations/instances_val2017.json'
    assert cfg.test_evaluator[0].ann_file == new + 'annotations/instances_val2017.json'
    assert cfg.model.path == 'data/coco/keep'


def test_joined_paths_without_a_data_root_move(tmp_path):
    cfg = coco(
        root='',
        ann_file='data/coco/annotations/instances_val2017.json',
        data_prefix={'img': 'data/coco/val2017/'},
    )
    set_data_root(cfg, str(tmp_path))
    dataset = cfg.val_dataloader.dataset
    assert dataset.ann_file == f'{tmp_path}/annotations/instances_val2017.json'
    assert dataset.data_prefix.img == f'{tmp_path}/val2017/'
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/annotations/instances_val2017.json'


def test_absolute_evaluator_file_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = coco()
    cfg.val_evaluator.ann_file = os.path.abspath('data/coco/annotations/instances_val2017.json')
    cfg.test_evaluator[0].ann_file = '/elsewhere/annotations/instances_val2017.json'
    set_data_root(cfg, str(tmp_path))
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/annotations/instances_val2017.json'
    assert cfg.test_evaluator[0].ann_file == f'{tmp_path}/annotations/instances_val2017.json'


def test_prefix_only_dataset_moves(tmp_path):
    cfg = Config(
        {'train_dataloader': {'dataset': {'type': 'CIFAR10', 'data_prefix': 'data/cifar10'}}}
    )
    set_data_root(cfg, str(tmp_path))
    assert cfg.train_dataloader.dataset.data_prefix == str(tmp_path)


def test_a_name_that_only_begins_alike_stays(tmp_path):
    cfg = coco()
    cfg.val_evaluator.outfile_prefix = 'data/coco_results'
    set_data_root(cfg, str(tmp_path))
    assert cfg.val_evaluator.outfile_prefix == 'data/coco_results'


def test_several_roots_move_by_their_parent(tmp_path):
    cfg = Config(
        {
            'train_dataloader': {'dataset': {'data_root': 'data/VOCdevkit/VOC2007'}},
            'val_dataloader': {'dataset': {'data_root': 'data/VOCdevkit/VOC2012/'}},
        }
    )
    set_data_root(cfg, str(tmp_path))
    assert cfg.train_dataloader.dataset.data_root == f'{tmp_path}/VOC2007'
    assert cfg.val_dataloader.dataset.data_root == f'{tmp_path}/VOC2012/'


def test_unrelated_roots_are_refused(tmp_path):
    cfg = Config(
        {
            'train_dataloader': {'dataset': {'data_root': 'a/x'}},
            'val_dataloader': {'dataset': {'data_root': 'b/y'}},
        }
    )
    with pytest.raises(UserError, match='a/x, b/y'):
        set_data_root(cfg, str(tmp_path))


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        set_data_root(coco(), str(tmp_path / 'nowhere'))
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='a file'):
        set_data_root(coco(), str(tmp_path / 'file'))


@pytest.mark.parametrize(
    'name',
    [
        'faster_rcnn_r50_scsa_1x_coco',
        'faster_rcnn_r50_scsa_bccd',
        'upernet_r50_scsa_80k_ade20k',
        'resnet50_scsa_in1k',
    ],
)
def test_no_shipped_config_keeps_its_old_root(name, tmp_path):
    from mmattn.engine.config import load_config

    cfg, _ = load_config(name)
    set_data_root(cfg, str(tmp_path))
    for key, value in cfg.items():
        if key.endswith(('dataloader', 'evaluator')):
            assert "'data/" not in str(value), key
