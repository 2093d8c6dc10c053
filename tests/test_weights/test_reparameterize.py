"""Fusing keeps the attention and the features."""

import re

import pytest
import torch
from mmengine.config import Config

from mmattn.registry import MODELS
from mmattn.utils.errors import UserError
from mmattn.weights.reparameterize import compare, fusible, reparameterize

ARCH = dict(num_blocks=[1, 2, 1, 1], width_factor=[0.25] * 4, group_layer_map=None, se_cfg=None)
BACKBONE = dict(type='mmattn.RepVGG', arch=ARCH, attention=dict(type='SCSA'))
CONFIG = f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone={BACKBONE},
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=128),
)
"""


@pytest.fixture
def config(tmp_path):
    pytest.importorskip('mmpretrain')
    path = tmp_path / 'repvgg.py'
    path.write_text(CONFIG)
    return path


def trained(config, path):
    """A checkpoint whose BatchNorm statistics matter."""
    from mmpretrain.registry import MODELS as STOCK

    from mmattn.backbones import RepVGG  # noqa: F401

    torch.manual_seed(0)
    model = STOCK.build(Config.fromfile(config).model)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=3))), path)
    return model


def test_repvgg_with_attention(tmp_path, config, tool, monkeypatch, capsys):
    model = trained(config, tmp_path / 'trained.pth')
    dst = tmp_path / 'deploy.pth'
    words = ('reparameterize', config, tmp_path / 'trained.pth', dst)
    assert tool(*words, monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert 'fused: backbone' in out and 'model.backbone.deploy=True' in out
    before, after = re.search(r'parameters: ([\d,]+) before, ([\d,]+) after', out).groups()
    assert int(before.replace(',', '')) > 1.1 * int(after.replace(',', ''))
    saved = torch.load(dst, weights_only=True)
    assert saved['meta'] == dict(dataset_meta=dict(classes=3))
    state = saved['state_dict']
    assert any('.attn_before_act.' in key for key in state)
    assert not any('branch_3x3' in key for key in state)
    backbone = {k[len('backbone.') :]: v for k, v in state.items() if k.startswith('backbone.')}
    deployed = MODELS.build(dict(**BACKBONE, deploy=True)).eval()
    deployed.load_state_dict(backbone, strict=True)
    image = torch.randn(2, 3, 64, 80)
    with torch.no_grad():
        compare(list(deployed(image)), list(model.backbone.eval()(image)), 'fused')
    assert tool(*words, monkeypatch=monkeypatch) == 2
    assert 'exists already' in capsys.readouterr().err


def test_what_cannot_be_fused_is_refused(tmp_path, config):
    model = trained(config, tmp_path / 'trained.pth')
    model.backbone.switch_to_deploy()
    torch.save(model.state_dict(), tmp_path / 'fused.pth')
    dst = tmp_path / 'out.pth'
    with pytest.raises(UserError, match='fused.pth does not fit the config'):
        reparameterize(str(config), tmp_path / 'fused.pth', dst)
    options = ['model.backbone.deploy=True']
    with pytest.raises(UserError, match='backbone of .*repvgg.py is fused already'):
        reparameterize(str(config), tmp_path / 'fused.pth', dst, options)
    plain = tmp_path / 'plain.py'
    plain.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='mmattn.ResNet', depth=18))"
    )
    torch.save(MODELS.build(dict(type='ResNet', depth=18)).state_dict(), tmp_path / 'r18.pth')
    with pytest.raises(UserError, match='nothing in the model of .*plain.py can be fused'):
        reparameterize(str(plain), tmp_path / 'r18.pth', dst)
    assert not dst.exists()


def test_other_features_are_refused():
    with pytest.raises(UserError, match=r'other features than before .relative error 5.* nothing'):
        compare([torch.ones(3)], [torch.ones(3) * 1.001], 'fused')


def test_only_the_outermost_module_is_fused():
    pytest.importorskip('mmpretrain')
    model = torch.nn.ModuleDict(
        dict(backbone=MODELS.build(dict(type='RepVGG', arch='A0')), neck=torch.nn.Identity())
    )
    assert fusible(model) == ['backbone']
    assert fusible(model.backbone) == ['']
