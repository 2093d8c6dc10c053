"""What mmengine cannot build of a config is one line; a bug in a component is not."""

import re

import pytest
from mmengine.registry import DATASETS, HOOKS, MODELS, VISUALIZERS, init_default_scope

from mmattn.engine import cli
from mmattn.engine.config import load_config
from mmattn.engine.mistakes import explain_building

FPN = dict(type='FPN', in_channels=[8], out_channels=8, num_outs=1)
HEAD = dict(type='RetinaHead', num_classes=1, in_channels=1)


def broken_inside(size):
    raise KeyError(size)


class Broken:
    def __init__(self, size):
        FPNLike(sizes=size)


class FPNLike:
    def __init__(self, size):
        pass


@pytest.mark.parametrize(
    ('registry', 'cfg', 'words'),
    [
        (MODELS, dict(type='FasterRCN'), "type='FasterRCN' .*mmdet.* Did you mean FasterRCNN"),
        (MODELS, dict(type='mmdett.FPN'), "'mmdett' is no package.* Did you mean mmdet.FPN"),
        (MODELS, dict(type='mmattn.ResNett'), 'Did you mean mmattn.ResNet'),
        (HOOKS, dict(type='CheckpointHok'), 'Did you mean CheckpointHook'),
        (MODELS, dict(FPN, num_out=2), "FPN of mmdet.*takes no argument 'num_out' .*num_outs"),
        (
            MODELS,
            dict(type='FPN', in_channels=[8]),
            "FPN of .* needs 'out_channels' and 'num_outs'",
        ),
        (MODELS, dict(FPN, norm_cfg=dict(type='BNN')), "type='BNN'.* Did you mean BN"),
        (
            MODELS,
            dict(type='RetinaHead', num_classes=1, in_channels=1, feat_channel=8),
            'feat_channels',
        ),
        (DATASETS, dict(type='CocoDataset', ann_fil='x'), 'Did you mean ann_file'),
        (VISUALIZERS, dict(type='DetLocalVisualizer', name='x', alfa=1), 'Did you mean alpha'),
    ],
)
def test_a_mistake_is_one_line_with_what_is_near(registry, cfg, words, capsys):
    pytest.importorskip('mmdet')
    init_default_scope('mmdet')
    assert cli.run(lambda: registry.build(cfg)) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: config: ') and error.count('\n') == 1
    assert re.search(words, error), error


def test_a_class_that_the_toolbox_does_not_have(tmp_path):
    pytest.importorskip('mmdet')
    path = tmp_path / 'new.py'
    path.write_text('from mmdet.models import FasterRCN\nmodel = dict(type=FasterRCN)')
    with pytest.raises(ImportError) as error:
        load_config(str(path))
    assert 'Failed to import FasterRCN from mmdet.models' in explain_building(error.value)


@pytest.mark.parametrize(
    ('cfg', 'error'),
    [
        (dict(type=broken_inside, size=1), KeyError),
        (dict(type=Broken, size=1), TypeError),
    ],
)
def test_a_bug_in_a_component_keeps_its_traceback(cfg, error):
    with pytest.raises(error) as raised:
        cli.run(lambda: MODELS.build(cfg))
    assert explain_building(raised.value) is None
