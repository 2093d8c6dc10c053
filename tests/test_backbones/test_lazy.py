"""What inherits from a toolbox is imported when it is asked for."""

import subprocess
import sys
import textwrap

import mmattn.backbones
from mmattn.backbones.base import AttentionBackbone
from mmattn.registry import MODELS

LAZY = {'MobileNetV2', 'RepVGG', 'SwinTransformer'}

SCRIPT = """
import sys
from mmengine.registry import MODELS as ROOT
import mmattn
import mmattn.datasets, mmattn.evaluation
from mmattn.registry import MODELS

ROOT.build(dict(type='mmattn.ResNet', depth=18, attention=dict(type='SE')))
assert not {'mmdet', 'mmseg', 'mmpretrain'} & set(sys.modules), 'import mmattn is not light'

sys.modules['mmpretrain'] = None  # as if it were not installed
assert 'RepVGG' not in MODELS.module_dict and 'ResNet' in MODELS.module_dict
for look_up in (
    lambda: ROOT.build(dict(type='mmattn.RepVGG', arch='A0')),
    lambda: mmattn.backbones.RepVGG,
):
    try:
        look_up()
    except ImportError as error:
        assert 'mmattn.RepVGG needs mmpretrain' in str(error), error
        assert "pip install 'onedl-mmpretrain" in str(error), error
    else:
        raise AssertionError('no error')

sys.modules['mmdet'] = None
for look_up in (
    lambda: mmattn.datasets.VisDroneDataset,
    lambda: mmattn.evaluation.VisDroneMetric,
):
    try:
        look_up()
    except ImportError as error:
        assert 'needs mmdet, which is not installed' in str(error), error
    else:
        raise AssertionError('no error')
"""


def test_importing_mmattn_needs_no_toolbox_and_a_missing_one_is_named():
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(SCRIPT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_walking_the_registry_and_the_package_finds_all_backbones():
    registered = {
        name
        for name, cls in MODELS.module_dict.items()
        if isinstance(cls, type) and issubclass(cls, AttentionBackbone)
    }
    assert registered == set(mmattn.backbones.__all__) and registered >= LAZY
    for name in registered:
        assert getattr(mmattn.backbones, name) is MODELS.get(f'mmattn.{name}')
    assert set(MODELS.modules) >= LAZY
    assert not hasattr(mmattn.backbones, 'VGG')
