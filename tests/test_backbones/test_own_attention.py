"""An attention in a user's own file works wherever those of mmattn do."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmattn import backbones
from mmattn.attention.names import attention_names
from mmattn.registry import MODELS
from mmattn.testing import CHECKS

OWN = '''
from torch import nn
from mmattn.attention import Attention
from mmattn.registry import MODELS

@MODELS.register_module()
class Mine(Attention):
    """Scales each channel by its mean."""

    def __init__(self, in_channels, strength=1.0, warm_start=False):
        super().__init__(in_channels, warm_start)
        self.fc = nn.Linear(in_channels, in_channels)
        self.strength = strength

    def attend(self, x):
        gate = (self.strength * self.fc(x.mean((2, 3)))).sigmoid()
        return x * gate[:, :, None, None].to(x.dtype)
'''
CONFIG = """
_base_ = ['tiny.py']
custom_imports = dict(imports=['mmattn', 'mine'])
model = dict(backbone=dict(attention=dict(type='Mine', strength=0.5, warm_start=True)))
"""


@pytest.fixture
def own(project, monkeypatch):
    """A folder with mine.py, own.py and a tiny data set; nothing of it stays registered."""
    (project / 'mine.py').write_text(OWN)
    (project / 'own.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(project)
    yield project
    MODELS.imported.pop('Mine', None)
    sys.modules.pop('mine', None)


@pytest.fixture
def mine(own):
    """The class, imported."""
    import mine

    return mine.Mine


def places(model, cls):
    return {name.rpartition('.')[2] for name, m in model.named_modules() if type(m) is cls}


def test_it_trains_from_a_config_file(own):
    cfg = Config.fromfile('own.py')
    cfg.merge_from_dict({'work_dir': 'runs', 'train_cfg.max_epochs': 1})
    runner = Runner.from_cfg(cfg)
    runner.train()
    slot = runner.model.backbone.layer1[0].attn_after_conv2
    assert type(slot).__name__ == 'Mine' and slot.strength == 0.5
    assert slot.warm_scale.item() != 0
    saved = torch.load('runs/epoch_1.pth', weights_only=False)['state_dict']
    assert 'backbone.layer1.0.attn_after_conv2.fc.weight' in saved


@pytest.mark.parametrize('name', backbones.__all__)
def test_it_works_in_every_backbone(name, small, mine):
    model = small(name, attention=dict(type='Mine', warm_start=True)).eval()
    assert places(model, mine)
    x = torch.randn(1, 3, 64, 64)
    plain = small(name, attention=None).eval()
    plain.load_state_dict({k: w for k, w in model.state_dict().items() if '.attn_' not in k})
    for one, other in zip(model(x), plain(x), strict=True):
        assert torch.equal(one, other)


def test_it_takes_positions_stages_and_switches_from_the_command_line(mine):
    cfg = Config(dict(backbone=dict(type='ResNet', depth=50, attention=dict(type='SE'))))
    cfg.merge_from_dict(
        {'backbone.attention.type': 'Mine', 'backbone.attention.position': 'after_conv1'}
    )
    assert places(MODELS.build(cfg.backbone), mine) == {'attn_after_conv1'}


def test_it_works_on_a_neck_and_as_a_plugin_in_stock_networks(mine):
    plugins = [dict(cfg=dict(type='mmattn.Mine', warm_start=True), position='after_conv2')]
    for toolbox, backbone in (
        ('mmattn', dict(type='mmattn.ResNet', depth=50, plugins=plugins)),
        ('mmdet', dict(type='mmdet.ResNet', depth=50, plugins=plugins)),
        ('mmseg', dict(type='mmseg.ResNet', depth=50, plugins=plugins)),
    ):
        pytest.importorskip(toolbox)
        with DefaultScope.overwrite_default_scope(toolbox):
            assert len([m for m in ROOT_MODELS.build(backbone).modules() if type(m) is mine]) == 16
    neck = dict(in_channels=64, num_levels=2, attention=dict(type='Mine'))
    assert places(MODELS.build(dict(type='AttentionNeck', **neck)), mine) == {'attn_after_neck'}


def test_errors_name_it_and_what_it_takes(mine):
    assert 'Mine' in attention_names()
    with pytest.raises(KeyError, match='did you mean Mine.*CBAM.*Mine'):
        MODELS.build(dict(type='ResNet', depth=18, attention=dict(type='Mien')))
    with pytest.raises(TypeError, match="Mine takes no argument 'power'; valid: strength"):
        MODELS.build(dict(type='ResNet', depth=18, attention=dict(type='Mine', power=2)))


@pytest.mark.parametrize('check', CHECKS[:9], ids=lambda check: check.__name__)
def test_the_house_checks_take_it(check, mine):
    check(mine, strength=2.0)


NEW = '''"""NewOne: half of everything.

Paper: Halves, Journal of Halves 2030.

Deviations: none.
"""

from torch import Tensor

from mmattn.attention.base import Attention
from mmattn.registry import MODELS


@MODELS.register_module()
class NewOne(Attention):
    """Multiplies by a number.

    Formula:
        y = x * factor

    Args:
        in_channels: Channels C of the input.
        factor: The number.
        warm_start: Start as the identity, see :class:`Attention`.
    """

    def __init__(self, in_channels: int, factor: float = 0.5, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.factor = factor

    def attend(self, x: Tensor) -> Tensor:
        return x * self.factor
'''
FOLLOWS = """
import mmattn, mmattn.attention
from generate.attention import page
from mmattn.__main__ import main
from mmattn.attention import NewOne
from mmattn.attention.names import attention_names
from mmattn.registry import MODELS
from mmattn.testing import CHECKS

assert mmattn.__file__.startswith({root!r})
assert 'NewOne' in mmattn.attention.__all__ and 'NewOne' in attention_names()
model = MODELS.build(dict(type='ResNet', depth=18, attention=dict(type='NewOne', factor=2)))
assert type(model.layer1[0].attn_after_conv2) is NewOne
for check in CHECKS[:9]:
    check(NewOne)
main(['attention'])
print(page('NewOne'))
"""


def test_a_new_file_in_the_package_is_all_it_takes(project_root, tmp_path):
    """Registry, slots, contract, page and command follow from one file in attention/."""
    if not (project_root / 'mmattn').is_dir():
        pytest.skip('needs the sources of a checkout')
    for name in ('mmattn', 'docs'):
        shutil.copytree(project_root / name, tmp_path / name)
    shutil.copytree(project_root / 'benchmarks' / 'results', tmp_path / 'benchmarks' / 'results')
    (tmp_path / 'mmattn' / 'attention' / 'new_one.py').write_text(NEW)

    paths = f'{tmp_path}{os.pathsep}{tmp_path / "docs"}'
    done = subprocess.run(
        [sys.executable, '-c', FOLLOWS.format(root=str(tmp_path))],
        env={'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Multiplies by a number' in done.stdout
    assert '# NewOne' in done.stdout and '- `factor=0.5`: ' in done.stdout


def test_the_tutorials_recipe(own, project_root):
    page = project_root / 'docs' / 'tutorials' / 'own_attention.md'
    if not page.is_file():
        pytest.skip('reads a page of a checkout, and this is none')
    text = page.read_text(encoding='utf-8')
    recipe = re.search(r'%%writefile mine.py\n(.*?)```', text, re.DOTALL)[1]
    (own / 'mine.py').write_text(recipe)
    from mine import Mine

    for check in CHECKS:
        if check.__name__ not in ('check_compile', 'check_export', 'check_onnx'):
            check(Mine)
    model = backbones.ResNet(18, attention=dict(type='Mine', reduction=2))
    assert model.layer1[0].attn_after_conv2.mlp[0].out_features == 32
