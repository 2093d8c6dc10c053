"""A checkpoint with code in it, as a person gives it to the tools."""

import os
import runpy
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

READERS = ['train.py', 'test.py']
READERS += [f'analysis_tools/{n}.py' for n in ('attention_maps', 'erf', 'errors', 'grad_cam')]
READERS += [
    f'model_converters/{n}.py'
    for n in ('convert_checkpoint', 'export', 'publish', 'reparameterize')
]


class Harm:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.makedirs, ('canary', 0o777, True)


@pytest.fixture
def here(project_root, monkeypatch, capsys):
    """Runs a tool in this process, with its exit status and what it printed."""
    before = signal.getsignal(signal.SIGINT)

    def run(name, *words):
        path = project_root / 'tools' / name
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, words)])
        monkeypatch.setattr(sys, 'path', [str(project_root / 'tools'), *sys.path])
        with pytest.raises(SystemExit) as status:
            runpy.run_path(str(path), run_name='__main__')
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status.value.code, out=out, err=err)

    yield run
    signal.signal(signal.SIGINT, before)


def check(run, *words):
    """Refused in one line; read, and the code in it run, for who trusts it."""
    done = run(*words)
    said = [line for line in done.err.splitlines() if line.startswith('error: ')]
    assert done.status == 2 and len(said) == 1 and 'Traceback' not in done.err, done.err
    assert 'evil.pth is not read: it asks' in said[0] and 'os.makedirs' in said[0]
    assert '--trust-checkpoint' in said[0] and not os.path.exists('canary')
    done = run(*words, '--trust-checkpoint')
    assert done.status == 0 and os.path.exists('canary'), done.err


def test_the_test_tool(project, here):
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    import mmattn  # noqa: F401

    cfg = Config.fromfile('tiny.py')
    init_default_scope('mmpretrain')
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights, x=Harm()), 'evil.pth')
    check(here, 'test.py', 'tiny.py', 'evil.pth')


def test_the_converters(project, here):
    torch.save(dict(state_dict={'w': torch.ones(2)}, x=Harm()), 'evil.pth')
    check(here, 'model_converters/publish.py', 'evil.pth', 'model.pth')
    done = here('model_converters/convert_checkpoint.py', 'evil.pth', 'out.pth')
    assert done.status == 2 and 'it asks to run os.makedirs' in done.err


@pytest.mark.parametrize('name', READERS)
def test_every_tool_that_reads_checkpoints_can_be_told_to_trust(project_root, name):
    words = [sys.executable, '-S', str(project_root / 'tools' / name), '--help']
    done = subprocess.run(words, capture_output=True, text=True)
    assert '--trust-checkpoint' in done.stdout, done.stderr
