"""tools/train.py, test.py and the shell scripts as a person starts them."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

ENV = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}


@pytest.fixture
def tools(project_root):
    return project_root / 'tools'


@pytest.fixture(autouse=True)
def importable(project_root, monkeypatch):
    """Subprocesses find mmattn from any working directory, installed or not."""
    path = f'{project_root}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'
    monkeypatch.setitem(ENV, 'PYTHONPATH', path.rstrip(os.pathsep))


def call(*words):
    return subprocess.run(
        [str(word) for word in words], env=ENV, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def here(tools, monkeypatch, capsys):
    """Runs a tool in this process, with its exit status and what it printed."""
    before = signal.getsignal(signal.SIGINT)

    def run(name, *words):
        monkeypatch.setattr(sys, 'argv', [str(tools / name), *map(str, words)])
        monkeypatch.setattr(sys, 'path', [str(tools), *sys.path])
        with pytest.raises(SystemExit) as status:
            runpy.run_path(str(tools / name), run_name='__main__')
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status.value.code, out=out, err=err)

    yield run
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('name', ['train.py', 'test.py'])
def test_help_imports_the_standard_library_only(tools, name):
    # -S leaves out site-packages: neither torch nor mmengine nor mmattn could be imported
    result = subprocess.run(
        [sys.executable, '-S', str(tools / name), '--help'], capture_output=True, text=True, env={}
    )
    assert result.returncode == 0, result.stderr
    options = ['--data-root', '--work-dir', '--cfg-options', '--launcher']
    options += {
        'train.py': ['--demo', '--amp', '--resume', '--auto-scale-lr', '--seed'],
        'test.py': ['checkpoint', '--out', '--show-dir'],
    }[name]
    for option in options:
        assert option in result.stdout


def test_tools_are_executable(tools):
    for name in ('train.py', 'test.py', 'dist_train.sh', 'dist_test.sh', 'slurm_train.sh'):
        assert os.access(tools / name, os.X_OK), name


def test_a_run_is_trained_continued_and_tested(here, project):
    trained = here('train.py', 'tiny.py', '--seed', 1, '--cfg-options', 'train_cfg.max_epochs=1')
    assert trained.status == 0 and '1 epoch, 2 iterations' in trained.out
    assert trained.out.startswith('config    tiny.py\n')
    again = here('train.py', 'tiny.py', '--resume')
    assert again.status == 0 and 'continues from work_dirs/tiny/epoch_1.pth' in again.out
    tested = here('test.py', 'tiny.py', 'work_dirs/tiny/epoch_2.pth', '--data-root', 'data/tiny')
    assert tested.status == 0 and 'accuracy/top1' in tested.out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['train.py', 'tinny.py'], "config 'tinny.py' does not exist"),
        (['train.py', 'tiny.py', '--data-root', 'nowhere'], "'nowhere' does not exist"),
        (
            ['train.py', 'tiny.py', '--cfg-options', 'model.neck.type=GlobalAveragePoolin'],
            'Did you mean GlobalAveragePooling?',
        ),
        (
            ['train.py', 'tiny.py', '--cfg-options', 'val_dataloader.dataset.data_prefx=val'],
            'Did you mean val_dataloader.dataset.data_prefix?',
        ),
        (
            ['train.py', 'tiny.py', '--cfg-options', 'model.backbone.attention.type=SCAS'],
            'SCSA',
        ),
        (['test.py', 'tiny.py', 'nowhere.pth'], "'nowhere.pth' does not exist"),
    ],
)
def test_an_error_of_the_user_is_one_line(here, project, words, message):
    result = here(*words)
    assert result.status == 2
    assert result.err.startswith('error: ') and message in result.err
    assert 'Traceback' not in result.err


def test_wrong_options_are_refused(here, project):
    result = here('train.py', 'tiny.py', '--demo', '--data-root', 'x')
    assert result.status == 2 and 'not allowed with' in result.err


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_tell_their_usage(tools, name):
    result = call('bash', tools / name)
    assert result.returncode == 2
    assert 'usage' in result.stderr


@pytest.mark.parametrize(
    ('environment', 'meeting'),
    [
        ({}, '--standalone --local_addr=127.0.0.1 --nproc_per_node=2'),
        (
            dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='host', PORT='7'),
            '--nnodes=2 --node_rank=1 --master_addr=host --master_port=7 --nproc_per_node=2',
        ),
        (
            dict(MAX_RESTARTS='3'),
            '--standalone --local_addr=127.0.0.1 --max_restarts=3 --nproc_per_node=2',
        ),
    ],
)
def test_how_the_processes_meet(tools, tmp_path, environment, meeting):
    fake = tmp_path / 'python'
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    command = ['bash', str(tools / 'dist_train.sh'), 'tiny.py', '2', '--amp']
    env = {**ENV, 'PYTHON': str(fake), **environment}
    out = subprocess.run(command, env=env, capture_output=True, text=True).stdout
    script = f'{tools.resolve()}/train.py tiny.py --launcher pytorch --amp'
    assert out == f'{tools.resolve()}/launch.py {meeting} {script}\n'


def test_several_machines_need_an_address(tools):
    command = ['bash', str(tools / 'dist_train.sh'), 'tiny.py', '2']
    result = subprocess.run(command, env={**ENV, 'NNODES': '2'}, capture_output=True, text=True)
    assert result.returncode and 'MASTER_ADDR' in result.stderr


@pytest.mark.slow
def test_interrupted_run_continues(tools, project):
    command = [sys.executable, str(tools / 'train.py'), 'tiny.py', '--cfg-options']
    command += ['train_cfg.max_epochs=100000']
    run = subprocess.Popen(
        command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    work_dir = project / 'work_dirs' / 'tiny'
    deadline = time.time() + 200
    while not (work_dir / 'epoch_2.pth').exists() and time.time() < deadline:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    printed, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert 'Traceback' not in errors
    assert '--resume' in errors
    assert 'OneDL' not in printed

    done = max(int(path.stem.split('_')[1]) for path in work_dir.glob('epoch_*.pth'))
    command[-1] = f'train_cfg.max_epochs={done + 1}'
    result = call(*command, '--resume')
    assert result.returncode == 0, result.stderr
    # The iteration in which it was stopped ends an epoch, or does not.
    assert re.search(r'continues from work_dirs/tiny/(epoch|iter)_\d+.pth', result.stdout)
    assert f'{done + 1} epochs' in result.stdout
    assert f'Epoch(train) [{done}]' not in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('bash') is None, reason='needs bash')
def test_two_processes_train_on_a_cpu(tools, project):
    result = call('bash', tools / 'dist_train.sh', 'tiny.py', 2)
    assert result.returncode == 0, result.stderr
    # two processes of four images each see the eight in one iteration
    assert '2 epochs, 2 iterations' in result.stdout
    tested = call('bash', tools / 'dist_test.sh', 'tiny.py', 'work_dirs/tiny/epoch_2.pth', 2)
    assert tested.returncode == 0, tested.stderr
    assert 'accuracy/top1' in tested.stdout
