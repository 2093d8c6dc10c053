"""A checkpoint with code in it, through everything that loads one in a run."""

import os

import pytest
import torch
from mmengine.runner import Runner as StockRunner

from mmattn.engine.config import load_config
from mmattn.engine.evaluate import evaluate
from mmattn.engine.runner import Runner
from mmattn.engine.train import train
from mmattn.utils.errors import UserError


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.makedirs, (self.folder, 0o777, True)


@pytest.fixture
def evil(trained):
    """The last checkpoint of a finished run, with code in it; it makes the folder 'canary'."""
    data = torch.load('work_dirs/tiny/epoch_1.pth', weights_only=False)
    torch.save(dict(data, x=Harm('canary')), 'evil.pth')
    return trained


def config(*options):
    return load_config('tiny.py', ['work_dir=w', *options])[0]


def stock(cfg):
    cfg.launcher = 'none'
    return StockRunner.from_cfg(cfg).train()


PRETRAINED = ['model.backbone.init_cfg.type=Pretrained']
PRETRAINED += ['model.backbone.init_cfg.checkpoint=evil.pth']
PRETRAINED += ['model.backbone.init_cfg.prefix=backbone.']
WAYS = {
    'load_from': lambda: train('tiny.py', cfg_options=['load_from=evil.pth'], work_dir='w'),
    'init_cfg': lambda: train('tiny.py', cfg_options=PRETRAINED, work_dir='w'),
    '--resume': lambda: train('tiny.py', resume='evil.pth', work_dir='w'),
    'test': lambda: evaluate('tiny.py', 'evil.pth', work_dir='w'),
    "the toolbox's own train.py, load_from": lambda: stock(config('load_from=evil.pth')),
    "the toolbox's own train.py, init_cfg": lambda: stock(config(*PRETRAINED)),
    'Runner.load_checkpoint': lambda: Runner.from_cfg(config()).load_checkpoint('evil.pth'),
}


@pytest.mark.parametrize('way', WAYS)
def test_no_code_runs(evil, way):
    with pytest.raises(UserError, match=r'evil\.pth.* asks (for|to run) os\.makedirs') as error:
        WAYS[way]()
    assert str(error.value).isprintable() and not os.path.exists('canary')


@pytest.mark.parametrize(
    'options', [['load_from=evil.pth'], PRETRAINED, ['load_from=evil.pth', 'resume=True']]
)
def test_it_runs_for_who_trusts_it(evil, options):
    Runner.from_cfg(config('survival.trust_checkpoint=True', *options)).train()
    assert os.path.exists('canary')
    # Others are not trusted by that.
    with pytest.raises(UserError, match='--trust-checkpoint'):
        Runner.from_cfg(config('work_dir=v', *options)).train()


def test_a_config_in_it_is_not_run_when_it_is_resumed(trained):
    data = torch.load('work_dirs/tiny/epoch_1.pth', weights_only=False)
    data['meta']['config'] = "import os; os.mkdir('canary')"
    torch.save(data, 'evil.pth')
    train('tiny.py', resume='evil.pth', work_dir='w')
    assert os.path.exists('w/epoch_2.pth') and not os.path.exists('canary')


@pytest.mark.parametrize('content', [{'state_dict': [1]}, {'state_dict': {1: torch.ones(1)}}, [1]])
def test_data_that_is_no_checkpoint(project, content):
    torch.save(content, 'evil.pth')
    for way in ('load_from', '--resume', 'test'):
        with pytest.raises(UserError, match=r'evil\.pth'):
            WAYS[way]()
