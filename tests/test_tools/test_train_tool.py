"""tools/train.py, test.py and dist_train.sh as a person starts them."""

import os
import shutil
import signal
import subprocess
import sys
import time

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


def test_help_is_immediate_and_lists_every_option(tools):
    started = time.time()
    result = call(sys.executable, tools / 'train.py', '--help')
    assert time.time() - started < 5
    for option in ('--demo', '--data-root', '--work-dir', '--amp', '--resume', '--auto-scale-lr'):
        assert option in result.stdout


def test_tools_are_executable(tools):
    for name in ('train.py', 'test.py', 'dist_train.sh', 'dist_test.sh', 'slurm_train.sh'):
        assert os.access(tools / name, os.X_OK), name


def test_user_error_has_no_traceback(tools, project):
    result = call(sys.executable, tools / 'train.py', 'tinny.py')
    assert result.returncode == 2
    assert 'tinny.py' in result.stderr
    assert 'Traceback' not in result.stderr


@pytest.mark.parametrize('name', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_tell_their_usage(tools, name):
    result = call('bash', tools / name)
    assert result.returncode == 2
    assert 'usage' in result.stderr


def test_slurm_command(tools, project, tmp_path):
    fake = tmp_path / 'bin' / 'srun'
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    env = {**ENV, 'PATH': f'{fake.parent}:{os.environ["PATH"]}', 'GPUS': '4'}
    command = ['bash', str(tools / 'slurm_train.sh'), 'part', 'job', 'tiny.py', '--amp']
    out = subprocess.run(command, env=env, capture_output=True, text=True).stdout
    for word in ('--partition=part', '--ntasks=4', '--gres=gpu:4', '--launcher slurm --amp'):
        assert word in out


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
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert 'Traceback' not in errors
    assert '--resume' in errors

    done = max(int(path.stem.split('_')[1]) for path in work_dir.glob('epoch_*.pth'))
    command[-1] = f'train_cfg.max_epochs={done + 1}'
    result = call(*command, '--resume')
    assert result.returncode == 0, result.stderr
    assert f'continues from work_dirs/tiny/epoch_{done}.pth' in result.stdout
    assert f'Epoch(train) [{done + 1}]' in result.stdout
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
