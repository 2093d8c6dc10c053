"""The processes of a run."""

import multiprocessing
import os
import socket
import sys

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import cli
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


def fail_in_one_of_two(rank, folder, case):
    """A process of a run in which the second one, or both, meet an error."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    where = f'file://{folder}/meeting'
    torch.distributed.init_process_group('gloo', init_method=where, rank=rank, world_size=2)

    def command():
        if case == 'alike' or rank == 1:
            raise UserError(f'bad {case}')
        torch.distributed.barrier()

    with open(f'{folder}/errors_{rank}', 'w') as sys.stderr:
        status = cli.run(command) if case == 'alike' or rank == 1 else 0
    torch.distributed.barrier()
    os._exit(status)


@pytest.mark.parametrize(('case', 'statuses'), [('alike', [2, 2]), ('alone', [0, 2])])
def test_an_error_is_heard_once_whichever_process_has_it(case, statuses, tmp_path):
    fork = multiprocessing.get_context('fork')
    arguments = [(rank, tmp_path, case) for rank in range(2)]
    processes = [fork.Process(target=fail_in_one_of_two, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == statuses
    lines = [(tmp_path / f'errors_{rank}').read_text().splitlines() for rank in range(2)]
    (line,) = lines[0] + lines[1]
    assert line.endswith(f': bad {case}')
    if case == 'alone':
        assert line == f'error (process 1, on {socket.gethostname()}): bad alone'
