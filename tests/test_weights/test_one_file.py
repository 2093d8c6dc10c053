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
RUN = """
import contextlib, io, runpy, sys
import torch
from mmattn.registry import MODELS

torch.manual_seed(0)
model = MODELS.build(dict(type='ChainNet', width=32, attention=dict(type='SE', reduction=4)))
own, theirs = model.state_dict(), {}
for key, value in own.items():
    key = key.replace('layer', 'trunk.').replace('.0.', '.', 1)
    theirs[key.replace('attn_after_conv.', 'gate.')] = value
torch.save(theirs, 'chain.pth')

sys.argv = ['convert_checkpoint.py', 'chain.pth', 'converted.pth']
printed = io.StringIO()
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):
    runpy.run_path('tools/model_converters/convert_checkpoint.py', run_name='__main__')
text = printed.getvalue()
assert 'a zoo of chains' in text and "attention=dict(type='SE', reduction=4" in text, text

import mmattn.backbones
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT

config = Config.fromstring(text[text.index('custom_imports') : text.index('note:')], '.py')
backbone = ROOT.build(config.model.backbone)
assert type(backbone) is mmattn.backbones.ChainNet
backbone.init_weights()
assert all(torch.equal(value, own[key]) for key, value in backbone.state_dict().items())
assert backbone(torch.zeros(1, 3, 8, 8))[0].shape == (1, 32, 2, 2)
# Its names are known without a conversion, too.
stock = {key: value for key, value in theirs.items() if '.gate.' not in key}
assert not any(mmattn.backbones.ChainNet(32).load_state_dict(stock))
"""


def python(folder, *words, path=''):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([path, str(folder)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_a_source_and_a_network_are_one_file_each(tmp_path, project_root):
    package = tmp_path / 'mmattn'
    left_out = shutil.ignore_patterns('__pycache__', '.mim')
    shutil.copytree(Path(mmattn.__file__).parent, package, ignore=left_out)
    shutil.copytree(project_root / 'tools', tmp_path / 'tools', ignore=left_out)
    (package / 'backbones' / 'chain.py').write_text(NETWORK)
    (package / 'weights' / 'sources' / 'chainzoo.py').write_text(SOURCE)
    # A torch that must not be imported.
    (tmp_path / 'light' / 'torch').mkdir(parents=True)
    (tmp_path / 'light' / 'torch' / '__init__.py').write_text("raise RuntimeError('heavy')")
    script = 'tools/model_converters/convert_checkpoint.py'
    text = python(tmp_path, script, '--help', path=str(tmp_path / 'light'))
    assert 'cbam, chainzoo, coordatt' in ' '.join(text.split())
    python(tmp_path, '-c', RUN)
