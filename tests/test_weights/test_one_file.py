"""A source of checkpoints is one file, and so is a network: the rest follows from it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmattn

NETWORK = '''
"""A chain of convolutions."""

from mmcv.cnn import ConvModule
from torch import nn

from mmattn.backbones.base import AttentionBackbone
from mmattn.backbones.slots import AttentionBlock, parse_attention
from mmattn.registry import MODELS


class ChainBlock(AttentionBlock, nn.Module):
    positions = ('after_conv',)
    default_positions = dict.fromkeys(('inner', 'before_norm', 'outer'), 'after_conv')

    def __init__(self, before, after, **slots):
        super().__init__()
        self.conv = ConvModule(before, after, 3, 2, 1, norm_cfg=dict(type='BN'))
        self.add_slots({'after_conv': after}, **slots)

    def slot_channels(self):
        return {'after_conv': self.conv.out_channels}

    def forward(self, x):
        return self.run_slots('after_conv', self.conv(x))


@MODELS.register_module()
class ChainNet(AttentionBackbone):
    def __init__(self, width=8, attention=None, init_cfg=None):
        super().__init__(init_cfg)
        self.frozen_stages, self.norm_eval, self.freeze_attention = -1, False, False
        attention = parse_attention(attention, 2, ChainBlock)
        for stage, before in enumerate((3, width)):
            block = ChainBlock(before, width, attention=attention, stage=stage)
            self.add_module(f'layer{stage + 1}', nn.Sequential(block))

    @classmethod
    def own_names(cls, shapes):
        return {key: f'layer{key[6]}.0.{key[8:]}' for key in shapes if key.startswith('trunk.')}

    @classmethod
    def config_from(cls, shapes):
        if 'layer1.0.conv.conv.weight' not in shapes:
            return None
        return dict(type='mmattn.ChainNet', width=shapes['layer1.0.conv.conv.weight'][0])

    def frozen_modules(self):
        return iter(())

    def forward(self, x):
        return (self.layer2(self.layer1(x)),)
'''
SOURCE = '''
"""A zoo of chains."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='a zoo of chains',
    mark=r'^trunk\\.\\d\\.gate\\.',
    example='trunk.1.gate.fc1.weight',
    renames={r'(layer\\d\\.\\d)\\.gate\\.': r'\\1.attn_outer.'},
    attention=('SE',),
)
'''
PUBLISH = """
import torch
from mmattn.registry import MODELS

torch.manual_seed(0)
model = MODELS.build(dict(type='ChainNet', width=32, attention=dict(type='SE', reduction=4)))
state = {}
for key, value in model.state_dict().items():
    key = key.replace('layer', 'trunk.').replace('.0.', '.', 1)
    state[key.replace('attn_after_conv.', 'gate.')] = value
torch.save(state, 'chain.pth')
torch.save(model.state_dict(), 'own.pth')
"""
LOAD = """
import torch
import mmattn.backbones
from mmengine.config import Config
from mmengine.registry import MODELS

own = torch.load('own.pth')
backbone = MODELS.build(Config.fromfile('chain.py').model.backbone)
assert type(backbone) is mmattn.backbones.ChainNet
backbone.init_weights()
assert all(torch.equal(value, own[key]) for key, value in backbone.state_dict().items())
assert backbone(torch.zeros(1, 3, 8, 8))[0].shape == (1, 32, 2, 2)
# Without a conversion, its names are known too.
fresh = mmattn.backbones.ChainNet(32)
stock = {key: value for key, value in torch.load('chain.pth').items() if '.gate.' not in key}
assert not any(fresh.load_state_dict(stock))
"""


@pytest.fixture
def copied(tmp_path, project_root):
    """The package with a source and a network more; a function that runs Python there."""
    shutil.copytree(
        Path(mmattn.__file__).parent,
        tmp_path / 'mmattn',
        ignore=shutil.ignore_patterns('__pycache__', '.mim'),
    )
    tool = project_root / 'tools' / 'model_converters' / 'convert_checkpoint.py'
    shutil.copy(tool, tmp_path)
    (tmp_path / 'mmattn' / 'backbones' / 'chain.py').write_text(NETWORK)
    (tmp_path / 'mmattn' / 'weights' / 'sources' / 'chainzoo.py').write_text(SOURCE)

    def python(*words, path=''):
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join([path, str(tmp_path)])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return python


@pytest.mark.slow
def test_a_source_and_a_network_are_one_file_each(tmp_path, copied):
    (tmp_path / 'light' / 'torch').mkdir(parents=True)
    (tmp_path / 'light' / 'torch' / '__init__.py').write_text("raise RuntimeError('heavy')")
    text = copied('convert_checkpoint.py', '--help', path=str(tmp_path / 'light'))
    assert 'cbam, chainzoo, coordatt' in ' '.join(text.split())
    copied('-c', PUBLISH)
    text = copied('convert_checkpoint.py', 'chain.pth', 'converted.pth')
    assert 'a zoo of chains' in text and "type='mmattn.ChainNet'" in text
    assert "attention=dict(type='SE', reduction=4" in text
    (tmp_path / 'chain.py').write_text(text[text.index('custom_imports') : text.index('note:')])
    copied('-c', LOAD)
