"""Every config of the repository trains a step and is evaluated on data in its own format.

The networks are short ones; `.ci/demos` runs the demo of each config as it is.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmattn.backbones import Res2Net, ResNet
from mmattn.demo import make
from mmattn.demo.tasks import TASKS
from mmattn.engine.train import train
from mmattn.experiments import find_experiments, load_tables
from mmattn.experiments.run import figures_of

STEMS = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / 'configs').glob('*.py'))
# Untrained detectors are sure of nothing: without these there are no boxes to evaluate.
ALL_BOXES = {'retinanet': 'model.test_cfg.score_thr=0', 'rcnn': 'model.test_cfg.rcnn.score_thr=0'}


@pytest.fixture
def one_step(monkeypatch):
    """Demos of one training step and two validation images, with a block a stage in ResNets."""
    for name, task in TASKS.items():
        # A classifier's folders are there for all of its classes.
        images = task.style.categories if name == 'classification' else 2
        size = dict(batch_size=images, train_images=images, val_images=images)
        size.update(iterations=1, evaluations=1, side=min(task.side, 96))
        monkeypatch.setitem(TASKS, name, replace(task, **size))

    def in_this_process(cfg, task, set_loaders=make._set_loaders):
        set_loaders(cfg, task)
        for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            cfg[name].update(num_workers=0, persistent_workers=False)

    monkeypatch.setattr(make, '_set_loaders', in_this_process)
    for cls in (ResNet, Res2Net):
        short = {
            depth: (block, tuple(1 for _ in counts))
            for depth, (block, counts) in cls.arch_settings.items()
        }
        monkeypatch.setattr(cls, 'arch_settings', short)


@pytest.mark.parametrize('stem', STEMS)
def test_a_config_trains_and_is_evaluated(stem, one_step, tmp_path):
    options = [option for name, option in ALL_BOXES.items() if name in stem]
    try:
        summary = train(
            stem,
            demo=True,
            work_dir=str(tmp_path),
            cfg_options=[*options, 'default_hooks.checkpoint.save_optimizer=False'],
        )
        assert summary.progress.endswith('1 iteration')
        assert summary.metrics
        # It measures what the tables of the papers ask of it.
        for row in find_experiments():
            if row.config == stem:
                wanted = set(row.paper) & set(load_tables()[row.table]['metrics'])
                assert wanted <= set(figures_of(row.table, summary.metrics)), row.name
        assert list((tmp_path / 'predictions').glob('*.png'))
    finally:
        # Checkpoints of detectors are large, and pytest keeps what is here.
        shutil.rmtree(tmp_path)
