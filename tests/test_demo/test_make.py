"""Configs of every kind become demos whose data sets load."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmattn.demo import make_demo
from mmattn.demo.dataset_configs import relative_to
from mmattn.demo.tasks import TASKS
from mmattn.utils.walk import iter_datasets

KINDS = {
    'faster_rcnn': 'detection',
    'voc': 'detection',
    'upernet': 'segmentation',
    'imagenet': 'classification',
    'cifar': 'classification',
}


@pytest.mark.parametrize('kind', KINDS)
def test_any_config_becomes_a_demo(kind, config_of, tmp_path):
    original = config_of(kind)
    before = copy.deepcopy(original.to_dict())
    cfg, notes = make_demo(original, str(tmp_path / 'work'), seed=3)
    assert original.to_dict() == before
    assert cfg.randomness.seed == 3
    assert notes[0].startswith('data:')
    backbone = cfg.model.backbone
    assert not (backbone.get('init_cfg') or {}).get('checkpoint')
    assert cfg.load_from is None
    if backbone.type == 'mmattn.ResNet':
        assert backbone.norm_eval is False
        assert backbone.frozen_stages == -1
    base = tmp_path / 'work' / 'demo_data'
    counts = {}
    for name in ('train_dataloader', 'val_dataloader'):
        for leaf in iter_datasets(cfg[name].dataset):
            assert Path(leaf.data_root).is_relative_to(base)
            with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
                loaded = registry.build({**leaf, 'pipeline': []})
            counts[name] = counts.get(name, 0) + len(loaded)
    sizes = TASKS[KINDS[kind]]
    assert counts == dict(train_dataloader=sizes.train_images, val_dataloader=sizes.val_images)
    length = cfg.train_cfg.get('max_iters') or (
        cfg.train_cfg.max_epochs * sizes.train_images // sizes.batch_size
    )
    assert length <= sizes.iterations
    # The demo's config must survive being written and read, as runs keep a copy.
    cfg.dump(tmp_path / 'copy.py')
    assert Config.fromfile(tmp_path / 'copy.py').model == cfg.model


def test_evaluators_follow_the_data(config_of, tmp_path):
    cfg, _ = make_demo(config_of('faster_rcnn'), str(tmp_path))
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert Path(evaluator.ann_file).is_file()
        assert Path(evaluator.ann_file).is_relative_to(tmp_path)
    scale = cfg.val_dataloader.dataset.pipeline[1].scale
    assert min(scale) == TASKS['detection'].side


def test_data_are_kept_until_something_changes(config_of, tmp_path):
    make_demo(config_of('cifar'), str(tmp_path), seed=0)
    files = [path for path in tmp_path.rglob('*') if path.is_file()]
    first = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    make_demo(config_of('cifar'), str(tmp_path), seed=0)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == first
    make_demo(config_of('cifar'), str(tmp_path), seed=1)
    assert all(
        path.read_bytes() != content for path, (_, content) in first.items() if path.name == 'train'
    )


def test_other_processes_wait_for_the_first(config_of, tmp_path, monkeypatch):
    monkeypatch.setattr('mmattn.demo.make.PATIENCE', 0)
    monkeypatch.setenv('LOCAL_RANK', '1')
    with pytest.raises(TimeoutError, match='process 0'):
        make_demo(config_of('cifar'), str(tmp_path))
    monkeypatch.setenv('LOCAL_RANK', '0')
    first, _ = make_demo(config_of('cifar'), str(tmp_path))
    monkeypatch.setenv('LOCAL_RANK', '1')
    second, _ = make_demo(config_of('cifar'), str(tmp_path))
    assert first.to_dict() == second.to_dict()


def test_unsupported_and_unknown_data_sets_are_named(config_of, tmp_path):
    cfg = config_of('lvis')
    with pytest.raises(ValueError, match='LVISV1Dataset.*CocoDataset.*XMLDataset'):
        make_demo(cfg, str(tmp_path))
    with pytest.raises(ValueError, match="'Nowhere' is not registered in mmdet"):
        make_demo(config_of('nowhere'), str(tmp_path))
    assert not any(tmp_path.iterdir())


def test_a_config_without_a_scope_is_refused(tmp_path):
    with pytest.raises(ValueError, match='default_scope'):
        make_demo(Config({'model': {}}), str(tmp_path))


@pytest.mark.parametrize(
    ('path', 'root', 'expected'),
    [
        ('train2017/', 'data/coco/', 'train2017/'),
        ('data/coco/annotations/a.json', 'data/coco/', 'annotations/a.json'),
        ('/datasets/coco/a.json', '', 'datasets/coco/a.json'),
        ('../images', 'data', 'images'),
        ('', 'data', ''),
    ],
)
def test_paths_stay_inside_the_generated_folder(path, root, expected):
    assert relative_to(path, root) == expected
