"""Every config of the repository trains a step and is evaluated on data in its own format.

The networks are short ones; `.ci/demos` runs the demo of each config as it is.
"""

import shutil
from pathlib import Path

import pytest

from mmattn.backbones import Res2Net, ResNet
from mmattn.demo import Demo
from mmattn.engine.train import train
from mmattn.experiments import find_experiments, load_tables
from mmattn.experiments.run import figures_of
from mmattn.utils.walk import iter_dicts, type_name

STEMS = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / 'configs').glob('*.py'))
# Untrained detectors are sure of nothing: without these there are no boxes to evaluate.
ALL_BOXES = {
    **dict.fromkeys(('retinanet', 'rtmdet', 'yolox'), 'model.test_cfg.score_thr=0'),
    'rcnn': 'model.test_cfg.rcnn.score_thr=0',
}


# Wide layers that every config's test would only wait for and write to the disk.
NARROW = {'fc_out_channels': 16, 'channels': 16, 'conv_out_channels': 16}
SHALLOW = {'ResNetCIFAR': 20, 'Res2NetCIFAR': 20, 'SERes2NetCIFAR': 20}


class SmallDemo(Demo):
    """A demo of a narrow and shallow network."""

    def prepare(self, cfg):
        notes = super().prepare(cfg)
        for node in iter_dicts(
            [cfg.model.get(key) for key in ('roi_head', 'decode_head', 'auxiliary_head')]
        ):
            node.update({key: value for key, value in NARROW.items() if key in node})
        if type_name(cfg.model.backbone) in SHALLOW:
            cfg.model.backbone.depth = SHALLOW[type_name(cfg.model.backbone)]
        return notes


@pytest.fixture
def short_networks(monkeypatch):
    """A block a stage in ResNets, and two pictures at the end."""
    for cls in (ResNet, Res2Net):
        short = {
            depth: (block, tuple(1 for _ in counts))
            for depth, (block, counts) in cls.arch_settings.items()
        }
        monkeypatch.setattr(cls, 'arch_settings', short)
    monkeypatch.setattr('mmattn.demo.demo.PICTURES', 2)


@pytest.mark.parametrize('stem', STEMS)
def test_a_config_trains_and_is_evaluated(stem, few_images, short_networks, tmp_path):
    options = [option for name, option in ALL_BOXES.items() if name in stem]
    try:
        summary = train(
            stem,
            demo=SmallDemo(),
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
