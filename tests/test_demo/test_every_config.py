"""Every config of the repository trains a step and is evaluated on data in its own format.

The networks are short ones; `.ci/demos` runs the demo of each config as it is.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmattn.backbones import Res2Net, ResNet
from mmattn.demo.tasks import TASKS
from mmattn.engine.train import train
from mmattn.experiments import find_experiments, load_tables

STEMS = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / 'configs').glob('*.py'))
# Untrained detectors are sure of nothing: without these there are no boxes to evaluate.
ALL_BOXES = {'retinanet': 'model.test_cfg.score_thr=0', 'rcnn': 'model.test_cfg.rcnn.score_thr=0'}


@pytest.fixture
def one_step(monkeypatch):
    """Demos of one training step and two validation images, with a block a stage in ResNets."""
    for name, task in TASKS.items():
        size = dict(batch_size=2, train_images=2, val_images=2, iterations=1, evaluations=1)
        side = min(task.side, 96)
        monkeypatch.setitem(TASKS, name, replace(task, **size, side=side))
    for cls in (ResNet, Res2Net):
        short = {
            depth: (block, tuple(1 for _ in counts))
            for depth, (block, counts) in cls.arch_settings.items()
        }
        monkeypatch.setattr(cls, 'arch_settings', short)


def metrics_of_rows(stem):
    """What the tables of the papers ask of a config."""
    tables = load_tables()
    keys = {
        key
        for row in find_experiments()
        if row.config == stem
        for key in tables[row.table]['metrics'].values()
    }
    return {key.removeprefix('100 - ') for key in keys}


@pytest.mark.parametrize('stem', STEMS)
def test_a_config_trains_and_is_evaluated(stem, one_step, tmp_path):
    options = [f'{option}' for name, option in ALL_BOXES.items() if name in stem]
    try:
        summary = train(
            stem,
            demo=True,
            work_dir=str(tmp_path),
            cfg_options=[*options, 'default_hooks.checkpoint.save_optimizer=False'],
        )
        assert summary.progress.endswith('1 iteration')
        assert summary.metrics and metrics_of_rows(stem) <= set(summary.metrics)
        assert list((tmp_path / 'predictions').glob('*.png'))
    finally:
        # Checkpoints of detectors are large, and pytest keeps what is here.
        shutil.rmtree(tmp_path)
