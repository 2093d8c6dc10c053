"""The proof that SE-Res2Net-29 learns can be repeated: its config trains, its run is kept."""

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmattn.engine.train import train

CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer']
CLASSES += ['dog', 'frog', 'horse', 'ship', 'truck']


@pytest.fixture(scope='module')
def benchmarks(project_root):
    if not (project_root / 'benchmarks').is_dir():
        pytest.skip('benchmarks/ is not part of the wheel')
    return project_root / 'benchmarks'


@pytest.fixture(scope='module')
def run(benchmarks, tmp_path_factory):
    """A work dir of the benchmark on four images a class."""
    folder = tmp_path_factory.mktemp('cifar10_jpeg')
    pixels = np.random.default_rng(0)
    for split in ('train', 'test'):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for index in range(4):
                image = pixels.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / split / name / f'{index:04}.jpg'), image)
    work_dir = folder / 'tiny_run'
    summary = train(
        str(benchmarks / 'cifar10_seres2net29.py'),
        data_root=str(folder),
        work_dir=str(work_dir),
        seed=0,
        cfg_options=[
            'train_dataloader.batch_size=20',
            'train_cfg.val_interval=1',
            'compile=False',  # it takes minutes
            'model.backbone.depth=20',
            'default_hooks.logger.interval=1',
        ],
    )
    return work_dir, summary


def test_the_recipe_is_the_shipped_configs(benchmarks):
    ours, shipped = (
        Config.fromfile(str(folder / name))
        for folder, name in (
            (benchmarks, 'cifar10_seres2net29.py'),
            (benchmarks.parent / 'configs', 'seres2net29_cifar10.py'),
        )
    )
    assert ours.model == shipped.model and ours.optim_wrapper == shipped.optim_wrapper
    assert ours.train_dataloader.batch_size == shipped.train_dataloader.batch_size
    read, *augmentation = ours.train_dataloader.dataset.pipeline
    assert read.type == 'LoadImageFromFile'
    assert augmentation == shipped.train_dataloader.dataset.pipeline
    iterations = ours.train_cfg.max_epochs * (50000 // 128)
    assert [m / iterations for m in ours.param_scheduler.milestones] == [
        m / shipped.train_cfg.max_epochs for m in shipped.param_scheduler.milestones
    ]


def test_it_trains_channels_last(run):
    work_dir, summary = run
    assert summary.progress == '4 epochs, 8 iterations'
    assert summary.metrics['accuracy/top1'] % 2.5 == 0  # of 40 images
    weights = torch.load(work_dir / 'epoch_4.pth', map_location='cpu', weights_only=False)
    kernel = weights['state_dict']['backbone.layer1.0.convs.0.weight']
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()


def test_the_run_is_kept_without_the_machines_paths(run, benchmarks, tmp_path, monkeypatch):
    work_dir, summary = run
    script = benchmarks / 'plot_curve.py'
    monkeypatch.setattr(sys, 'argv', [str(script), str(work_dir), str(tmp_path)])
    runpy.run_path(str(script), run_name='__main__')
    scalars = [json.loads(line) for line in (tmp_path / 'tiny_run.jsonl').read_text().splitlines()]
    assert sum('loss' in entry for entry in scalars) == 8
    accuracies = [entry['accuracy/top1'] for entry in scalars if 'accuracy/top1' in entry]
    assert len(accuracies) == 4 and accuracies[-1] == summary.metrics['accuracy/top1']
    log = (tmp_path / 'tiny_run.log').read_text()
    assert 'Epoch(train) [4][2/2]' in log and str(work_dir.parent) not in log
    outcome = json.loads((tmp_path / 'tiny_run.json').read_text())
    assert outcome['config'] == 'cifar10_seres2net29' and outcome['metrics'] == summary.metrics
    assert str(work_dir.parent) not in str(outcome)
    assert cv2.imread(str(tmp_path / 'tiny_run.png')).shape[2] == 3


def test_a_folder_without_a_finished_run_is_named(benchmarks, tmp_path):
    script = runpy.run_path(str(benchmarks / 'plot_curve.py'))
    with pytest.raises(FileNotFoundError, match=f'no run in {tmp_path}'):
        script['read_run'](tmp_path)
    with pytest.raises(FileNotFoundError, match=f'the run in {tmp_path} is not finished'):
        script['read_outcome'](tmp_path)
