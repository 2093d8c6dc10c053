"""tools/slurm_train.sh against commands of Slurm that only note what they are asked."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

SCONTROL = """#!/bin/sh
echo "scontrol $@" >> calls
[ "$1" = show ] && echo "   Command=$SUBMITTED part job" || true
"""
# Runs the training as the only task; the launcher's variables are Slurm's.
TASK = """#!/bin/sh
echo "restart ${SLURM_RESTART_COUNT:-0}: $@" >> calls
while [ "$1" != "$PYTHON" ]; do shift; done
export SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_LOCALID=0 SLURM_NTASKS_PER_NODE=1
export MASTER_ADDR=127.0.0.1
exec "$@"
"""


@pytest.fixture
def slurm(project_root, tmp_path, monkeypatch):
    """Starts the script with a fake srun in a folder where the calls are noted."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    script = project_root / 'tools' / 'slurm_train.sh'

    def start(srun, *options, script=script, **environment):
        for name, text in dict(srun=srun, scontrol=SCONTROL).items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        kept = {k: v for k, v in os.environ.items() if not k.startswith('SLURM')}
        path = f'{folder}{os.pathsep}{os.environ["PATH"]}'
        python = dict(PYTHON=sys.executable, PYTHONPATH=str(project_root), OMP_NUM_THREADS='1')
        return subprocess.Popen(
            ['bash', str(script), 'part', 'job', 'tiny.py', *map(str, options)],
            env={**kept, **python, 'PATH': path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def calls():
    with open('calls') as file:
        return file.read().splitlines()


def wait_for(condition, process):
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)


NOTE = '#!/bin/sh\necho "restart ${SLURM_RESTART_COUNT:-0}: $@" >> calls\n'
# A training that is announced its end twice.
TWICE = NOTE + '[ $(wc -l < calls) -gt 2 ] || exit 75\n'
SIGNALLED = NOTE + 'trap "exit 75" USR1; trap "exit 143" TERM; touch ready; sleep 60 & wait\n'


def test_the_command(slurm):
    assert slurm(NOTE, '--amp', GPUS='4').wait(30) == 0
    (call,) = calls()
    for word in ('--partition=part', '--job-name=job', '--ntasks=4', '--gres=gpu:4'):
        assert word in call
    assert '--signal=USR1@120' in call and 'tiny.py --resume --launcher slurm --amp' in call


def test_what_is_to_begin_anew_is_not_told_to_continue(slurm):
    assert slurm(NOTE, '--overwrite').wait(30) == 0
    assert '--resume' not in calls()[0]


@pytest.mark.parametrize('status', [1, 130, 143])
def test_other_ends_are_final(slurm, status):
    assert slurm(f'{NOTE}exit {status}\n').wait(30) == status
    assert len(calls()) == 1


def test_from_a_terminal_it_starts_the_training_again(slurm):
    process = slurm(TWICE)
    assert process.wait(30) == 0
    assert [call.partition(':')[0] for call in calls()] == ['restart 0', 'restart 1', 'restart 2']
    assert process.stderr.read().count('is started again, and continues') == 2


def test_a_batch_job_is_requeued_once(slurm, project_root, tmp_path):
    tools = project_root / 'tools'
    # What Slurm runs is a copy in a folder of its own.
    copy = shutil.copy(tools / 'slurm_train.sh', tmp_path / 'slurm_script')
    environment = dict(SLURM_JOB_ID='7', SUBMITTED=str(tools / 'slurm_train.sh'))
    assert slurm(TWICE, script=copy, **environment).wait(30) == 0
    show, run, requeue = calls()
    assert (show, requeue) == ('scontrol show job 7', 'scontrol requeue 7')
    assert f'{tools}/train.py' in run and '--partition' not in run


def test_sbatch_reads_when_to_signal_and_that_it_may_requeue(project_root):
    lines = (project_root / 'tools' / 'slurm_train.sh').read_text().splitlines()
    assert lines[1:4] == [
        '#SBATCH --requeue',
        '#SBATCH --signal=B:USR1@120',
        '#SBATCH --open-mode=append',
    ]


@pytest.mark.parametrize(('name', 'status'), [('SIGTERM', 143), ('SIGUSR1', 0)])
def test_a_signal_to_the_script_reaches_the_training(slurm, name, status):
    process = slurm(SIGNALLED, SLURM_JOB_ID='7')
    wait_for(lambda: os.path.exists('ready'), process)
    process.send_signal(getattr(signal, name))
    assert process.wait(30) == status
    assert ('scontrol requeue 7' in calls()) == (name == 'SIGUSR1')


@pytest.mark.slow
def test_a_requeued_training_ends_as_one_that_was_not(slurm, project):
    options = ['--seed', 1, '--cfg-options', 'train_cfg.max_epochs=12']
    whole = slurm(TASK, '--work-dir', 'whole', *options)
    assert whole.wait(200) == 0, whole.communicate()
    process = slurm(TASK, '--work-dir', 'parts', *options)
    saved = project / 'parts' / 'epoch_2.pth'
    wait_for(saved.exists, process)
    subprocess.run(['pkill', '-USR1', '-P', str(process.pid)], check=True)  # as Slurm does
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert 'stopped by SIGUSR1' in errors and 'is started again' in errors
    assert 'continues from parts/' in out
    one, other = (
        torch.load(project / folder / 'epoch_12.pth', weights_only=True)['state_dict']
        for folder in ('whole', 'parts')
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
