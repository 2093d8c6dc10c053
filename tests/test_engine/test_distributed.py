"""The processes of a run."""

import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmattn.engine.distributed import init_distributed, say, worded
from mmattn.utils.errors import UserError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher's variables."""
    for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'TORCHELASTIC_RUN_ID', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    for name in ('SLURM_LOCALID', 'OMPI_COMM_WORLD_RANK', 'LOCAL_WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
def test_launcher_without_its_environment(launcher):
    with pytest.raises(UserError, match=f'--launcher {launcher}.*is not set'):
        init_distributed(Config(), launcher)


def test_torchrun_without_launcher_option(monkeypatch):
    cfg = Config()
    init_distributed(cfg, 'none')
    assert cfg.launcher == 'none'
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', '1')
    with pytest.raises(UserError, match='--launcher pytorch.*is not set'):
        init_distributed(cfg, 'none')


def test_more_processes_than_gpus_are_an_error_of_every_process(monkeypatch):
    environment = dict(MASTER_ADDR='a', RANK='0', WORLD_SIZE='4', LOCAL_RANK='0')
    for name, value in dict(environment, LOCAL_WORLD_SIZE='4').items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr('mmattn.engine.distributed.get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(UserError, match='4 processes .* 2 GPUs'):
        init_distributed(Config(), 'pytorch')


def test_only_the_first_process_says_notes(monkeypatch, capsys):
    say(['a'])
    monkeypatch.setenv('SLURM_PROCID', '1')
    say(['b'])
    assert capsys.readouterr().out == 'a\n'


def test_before_they_know_each_other_one_process_of_each_machine_speaks(monkeypatch):
    assert worded('bad') == 'error: bad'
    monkeypatch.setenv('RANK', '8')
    monkeypatch.setenv('LOCAL_RANK', '0')
    assert worded('bad').startswith('error (process 8, on ')
    monkeypatch.setenv('LOCAL_RANK', '1')
    assert worded('bad') is None


SCRIPT = """
import os, sys
import torch.distributed as dist
from mmattn.engine import cli
from mmattn.utils.errors import UserError
dist.init_process_group('gloo')
rank = dist.get_rank()
def command():
    if sys.argv[1] == 'alike' or rank == 1:
        raise UserError(f'bad {sys.argv[1]}')
status = cli.run(command) if sys.argv[1] == 'alike' or rank == 1 else 0
dist.barrier()
os._exit(status)
"""


@pytest.mark.parametrize(('case', 'who'), [('alike', 'process [01]|error'), ('alone', 'process 1')])
def test_an_error_is_heard_once_whichever_process_has_it(case, who, tmp_path, project_root):
    (tmp_path / 'script.py').write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    common = dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2')
    common['PYTHONPATH'] = str(project_root)
    processes = [
        subprocess.Popen(
            [sys.executable, tmp_path / 'script.py', case],
            env=dict(common, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = ''.join(process.communicate(timeout=200)[1] for process in processes)
    (line,) = [line for line in errors.splitlines() if f'bad {case}' in line]
    assert re.search(who, line)
    assert [p.returncode for p in processes] == ([2, 2] if case == 'alike' else [0, 2])
