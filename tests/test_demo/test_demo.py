"""Configs of every kind become demos whose data sets load, and end with pictures."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from mmattn.demo import Demo
from mmattn.demo.dataset_configs import relative_to
from mmattn.engine.summary import RunSummary
from mmattn.utils.errors import InvalidValue
from mmattn.utils.walk import iter_datasets

TASK_OF = {
    'faster_rcnn': 'detection',
    'voc': 'detection',
    'upernet': 'segmentation',
    'imagenet': 'classification',
    'cifar': 'classification',
}


def files_in(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob('*') if path.is_file()}


@pytest.mark.parametrize('kind', TASK_OF)
def test_any_config_becomes_a_demo(kind, config_of, few_images, tmp_path):
    cfg = config_of(kind)
    notes = Demo(seed=3).prepare(cfg)
    assert cfg.randomness.seed == 3
    assert notes[0].startswith('data:')
    backbone = cfg.model.backbone
    assert not (backbone.get('init_cfg') or {}).get('checkpoint')
    assert cfg.load_from is None
    if backbone.type == 'mmattn.ResNet':
        assert backbone.norm_eval is False
        assert backbone.frozen_stages == -1
    counts = {}
    for name in ('train_dataloader', 'val_dataloader'):
        for leaf in iter_datasets(cfg[name].dataset):
            assert Path(leaf.data_root).is_relative_to(tmp_path / 'work' / 'demo_data')
            with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
                loaded = registry.build({**leaf, 'pipeline': []})
            counts[name] = counts.get(name, 0) + len(loaded)
    task = few_images[TASK_OF[kind]]
    assert counts == dict(train_dataloader=task.train_images, val_dataloader=task.val_images)
    assert 1 in (cfg.train_cfg.get('max_iters'), cfg.train_cfg.get('max_epochs'))
    # The demo's config must survive being written and read, as runs keep a copy.
    cfg.dump(tmp_path / 'copy.py')
    assert Config.fromfile(tmp_path / 'copy.py').model == cfg.model


def test_evaluators_follow_the_data(config_of, few_images, tmp_path):
    cfg = config_of('faster_rcnn')
    Demo().prepare(cfg)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert Path(evaluator.ann_file).is_file()
        assert Path(evaluator.ann_file).is_relative_to(tmp_path)
    scale = cfg.val_dataloader.dataset.pipeline[1].scale
    assert min(scale) == few_images['detection'].side


def test_processes_compare_results_without_a_shared_disk(config_of, few_images, monkeypatch):
    alone, cfg = config_of('cifar'), config_of('cifar')
    Demo().prepare(alone)
    assert 'collect_device' not in alone.val_evaluator
    monkeypatch.setattr('mmattn.demo.dataset_configs.is_distributed', lambda: True)
    cfg.val_evaluator = dict(metrics=[cfg.val_evaluator])
    Demo().prepare(cfg)
    assert cfg.val_evaluator == dict(metrics=[dict(type='Accuracy', collect_device='gpu')])


def test_the_seed_of_the_config_counts_most(config_of, few_images):
    cfg = config_of('cifar')
    cfg.randomness = dict(seed=7, deterministic=True)
    Demo(seed=3).prepare(cfg)
    assert cfg.randomness == dict(seed=7, deterministic=True)


def test_data_are_kept_until_something_changes(config_of, few_images, tmp_path):
    def roots(seed):
        cfg = config_of('cifar')
        Demo(seed).prepare(cfg)
        return {leaf.data_root for leaf in iter_datasets(cfg.train_dataloader.dataset)}

    first = roots(0)
    written = {path: path.stat().st_mtime_ns for path in files_in(tmp_path)}
    assert roots(0) == first
    assert {path: path.stat().st_mtime_ns for path in files_in(tmp_path)} == written
    assert roots(1).isdisjoint(first)
    contents = {path.name: set() for path in written}
    for path, content in files_in(tmp_path).items():
        contents[path.name].add(content)
    # Only the class names are those of both seeds.
    assert {name: len(found) for name, found in contents.items()} == dict(train=2, test=2, meta=1)


def test_a_process_writes_itself_when_the_first_one_does_not(
    config_of, few_images, tmp_path, monkeypatch
):
    monkeypatch.setenv('LOCAL_RANK', '1')
    other, cfg = config_of('cifar'), config_of('cifar')

    def first(seconds):
        with monkeypatch.context() as only_here:
            only_here.setenv('LOCAL_RANK', '0')
            Demo().prepare(other)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=first)
    monkeypatch.setattr('mmattn.demo.data.time', clock)
    Demo().prepare(cfg)
    assert cfg.to_dict() == other.to_dict() and files_in(tmp_path)
    # No first process comes.
    monkeypatch.setattr('mmattn.demo.data.PATIENCE', 0)
    cfg = config_of('cifar')
    Demo(seed=1).prepare(cfg)
    assert Path(cfg.train_dataloader.dataset.data_root).is_dir()


def test_what_is_written_half_is_not_used(config_of, few_images, tmp_path, monkeypatch):
    cfg = config_of('cifar')
    with monkeypatch.context() as full:
        full.setattr('mmattn.datasets.cifar10.demo.pickle.dumps', _fail)
        with pytest.raises(OSError, match='disk full'):
            Demo().prepare(cfg)
    assert not files_in(tmp_path) and not list((tmp_path / 'work' / 'demo_data').iterdir())
    Demo().prepare(config_of('cifar'))


def _fail(*args, **kwargs):
    raise OSError('disk full')


MACHINE = """
import sys
from dataclasses import replace
import torch.distributed as dist
from mmengine.config import Config
from mmattn.demo.data import generate
from mmattn.demo.tasks import TASKS

rank = int(sys.argv[1])
dist.init_process_group('gloo', init_method='file://' + sys.argv[2], rank=rank, world_size=2)
cfg = Config.fromfile('cifar.py')
task = replace(TASKS['classification'], train_images=20, val_images=10)
for cfg.work_dir in (f'own_{rank}', 'shared'):
    dist.barrier()
    folders = [None, None]
    dist.all_gather_object(folders, generate(cfg, task, (32, 32), 0).name)
    assert folders[0] == folders[1]
"""


def test_machines_with_and_without_a_shared_disk(config_of, tmp_path):
    """Two first processes: each one's data are its own, on one disk those of the faster one."""
    config_of('cifar').dump(tmp_path / 'cifar.py')
    environment = dict(os.environ, LOCAL_RANK='0', OMP_NUM_THREADS='1')
    machines = [
        subprocess.Popen(
            [sys.executable, '-c', MACHINE, str(rank), str(tmp_path / 'store')],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for machine in machines:
            _, errors = machine.communicate(timeout=120)
            assert machine.returncode == 0, errors[-3000:]
    finally:
        for machine in machines:
            machine.kill()
    digests = {}
    for name in ('own_0', 'own_1', 'shared'):
        (folder,) = (tmp_path / name / 'demo_data').iterdir()
        files = {str(p.relative_to(folder)): content for p, content in files_in(folder).items()}
        digests[name] = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
    assert len(set(digests.values())) == 1, digests


def test_unsupported_and_unknown_data_sets_are_named(config_of, tmp_path):
    with pytest.raises(InvalidValue, match='LVISV1Dataset.*CocoDataset.*XMLDataset'):
        Demo().prepare(config_of('lvis'))
    with pytest.raises(KeyError, match="'Nowhere' is not registered in mmdet"):
        Demo().prepare(config_of('nowhere'))
    assert not any(tmp_path.iterdir())


def test_configs_that_cannot_be_a_demo_are_refused(config_of):
    with pytest.raises(InvalidValue, match='default_scope'):
        Demo().prepare(Config({'model': {}}))
    cfg = config_of('cifar')
    cfg.train_dataloader = None
    with pytest.raises(InvalidValue, match='train_dataloader'):
        Demo().prepare(cfg)


@pytest.mark.parametrize(
    ('path', 'root', 'expected'),
    [
        ('train2017/', 'data/coco/', 'train2017/'),
        ('data/coco/annotations/a.json', 'data/coco/', 'annotations/a.json'),
        ('/datasets/coco/a.json', '', 'datasets/coco/a.json'),
        ('../images', 'data', 'images'),
        ('./', 'data', ''),
        ('', 'data', ''),
    ],
)
def test_paths_stay_inside_the_generated_folder(path, root, expected):
    assert relative_to(path, root) == expected


@pytest.fixture
def finished(config_of, few_images, tmp_path):
    """A classifier's demo as if trained: its config and its summary."""
    cfg = config_of('cifar')
    cfg.model = dict(
        type='ImageClassifier',
        backbone=dict(type='mmattn.ResNetCIFAR', depth=20),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=100, in_channels=64),
    )
    cfg.data_preprocessor = dict(mean=[127.0] * 3, std=[50.0] * 3, to_rgb=False)
    Demo().prepare(cfg)
    with MODELS.switch_scope_and_registry('mmpretrain') as registry:
        model = registry.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    summary = RunSummary('cifar', 'classification', 'none', cfg.work_dir, 1.0)
    summary.last_checkpoint = str(path)
    return cfg, summary


def test_a_demo_ends_with_pictures(finished):
    cfg, summary = finished
    before = cfg.to_dict()
    (line,) = Demo().finish(cfg, summary)
    assert cfg.to_dict() == before
    assert '8 pictures' in line and str(Path(cfg.work_dir, 'predictions')) in line
    assert len(list(Path(cfg.work_dir, 'predictions').glob('*.png'))) == 8


def test_pictures_need_a_checkpoint_that_fits_and_images(finished):
    cfg, summary = finished
    torch.save({'state_dict': {}, 'meta': {}}, summary.last_checkpoint)
    with pytest.raises((RuntimeError, ValueError), match='does not fit|[Mm]issing key'):
        Demo().finish(cfg, summary)
    cfg.val_dataloader = None
    assert 'no val_dataloader' in Demo().finish(cfg, summary)[0]
    summary.last_checkpoint = None
    assert 'no checkpoint' in Demo().finish(cfg, summary)[0]
