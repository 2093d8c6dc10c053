"""tools/dist_train.sh: signals, killed processes and two machines, as a person meets them."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow


@pytest.fixture
def start(project_root, project):
    """Starts the script, its output in the file of a name."""
    started = []

    def begin(name, *options, processes=2, **environment):
        words = ['bash', project_root / 'tools/dist_train.sh', 'tiny.py', processes, *options]
        kept = dict(PYTHON=sys.executable, PYTHONPATH=str(project_root), OMP_NUM_THREADS='1')
        with open(name, 'w') as output:
            process = subprocess.Popen(
                list(map(str, words)),
                env={**os.environ, **kept, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()


def said(name):
    return Path(name).read_text()


def wait_for(pattern, name, process):
    deadline = time.monotonic() + 200
    while not re.search(pattern, said(name)):
        assert process.poll() is None and time.monotonic() < deadline, said(name)
        time.sleep(0.05)


def assert_equal(*paths):
    one, other = (torch.load(path, weights_only=True)['state_dict'] for path in paths)
    assert all(torch.equal(one[key], other[key]) for key in one)


def workers_of(process):
    """The processes that a launcher has started."""
    path = f'/proc/{process.pid}/task/{process.pid}/children'
    return [int(pid) for pid in Path(path).read_text().split()]


EPOCHS = ['--seed', 1, '--cfg-options', 'train_cfg.max_epochs=30', 'train_dataloader.num_workers=1']
EPOCHS += ['default_hooks.checkpoint.interval=10']


@pytest.mark.parametrize(('name', 'status'), [('SIGINT', 130), ('SIGTERM', 143), ('SIGUSR1', 75)])
def test_the_last_words_after_a_signal_say_how_to_continue(start, name, status):
    process = start('parts.txt', '--work-dir', 'parts', *EPOCHS)
    wait_for(r'Epoch\(train\) +\[3\]', 'parts.txt', process)
    workers = workers_of(process)
    process.send_signal(getattr(signal, name))
    assert process.wait(60) == status
    words = said('parts.txt')
    what = 'Ctrl-C' if name == 'SIGINT' else name
    assert 'Traceback' not in words and 'torch.distributed.elastic' not in words
    (last,) = words.splitlines()[-1:]
    assert re.match(rf'error: stopped by {what} at iteration \d+ of 30. To continue from', last)
    assert len(workers) == 2 and not any(Path(f'/proc/{pid}').exists() for pid in workers)
    if name != 'SIGTERM':
        return
    # Once more, the launcher has no chance to pass anything on.
    again = start('parts.txt', '--work-dir', 'parts', '--resume', *EPOCHS)
    wait_for(r'Epoch\(train\) +\[12\]', 'parts.txt', again)
    again.kill()
    wait_for_end = time.monotonic() + 60
    while 'To continue from' not in said('parts.txt') and time.monotonic() < wait_for_end:
        time.sleep(0.05)
    assert 'error: stopped by SIGTERM' in said('parts.txt')
    assert start('parts.txt', '--work-dir', 'parts', '--resume', *EPOCHS).wait(200) == 0
    assert start('whole.txt', '--work-dir', 'whole', *EPOCHS).wait(200) == 0
    assert_equal('whole/epoch_30.pth', 'parts/epoch_30.pth')


def test_a_job_with_a_killed_process_ends_with_the_same_weights(start):
    process = start('parts.txt', '--work-dir', 'parts', *EPOCHS, MAX_RESTARTS='2')
    wait_for(r'Epoch\(train\) +\[13\]', 'parts.txt', process)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    assert process.wait(300) == 0, said('parts.txt')
    words = said('parts.txt')
    assert 'process 1 was killed by SIGKILL; all are started again, up to 2 times' in words
    assert re.search(r'started again \(restart 1\): continues from .*/parts/epoch_10.pth', words)
    assert 'Traceback' not in words
    assert start('whole.txt', '--work-dir', 'whole', *EPOCHS).wait(200) == 0
    assert_equal('whole/epoch_30.pth', 'parts/epoch_30.pth')


def test_a_work_dir_in_use_is_refused_once(start):
    endless = ['train_cfg.max_epochs=100000', 'train_cfg.val_interval=1000']
    first = start('first.txt', '--work-dir', 'same', *EPOCHS, *endless)
    wait_for(r'Epoch\(train\) +\[1\]', 'first.txt', first)
    second = start('second.txt', '--work-dir', 'same', '--resume', *EPOCHS)
    assert second.wait(200) == 2
    words = said('second.txt')
    expected = f'error: same is in use by process {workers_of(first)[0]} on {socket.gethostname()}'
    assert words.count('is in use by') == 1 and expected in words and 'Traceback' not in words
    first.terminate()
    assert first.wait(60) == 143


@pytest.fixture
def nodes():
    """The environments of two machines of one process each, both of them this one."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        meeting = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=str(free.getsockname()[1]))
    return [dict(meeting, NODE_RANK=str(rank)) for rank in range(2)]


def test_a_signal_to_one_of_two_machines_stops_both(start, nodes):
    parts = ['--work-dir', 'parts', *EPOCHS]
    both = [start(f'{i}.txt', *parts, processes=1, **each) for i, each in enumerate(nodes)]
    wait_for(r'Epoch\(train\) +\[3\]', '0.txt', both[0])
    both[1].terminate()
    assert [each.wait(60) for each in both] == [143, 143]
    assert 'error: stopped by SIGTERM' in said('0.txt').splitlines()[-1]
    assert 'Traceback' not in said('0.txt') + said('1.txt')
    parts.append('--resume')
    parts.insert(0, parts.pop())
    both = [start(f'{i}.txt', *parts, processes=1, **each) for i, each in enumerate(nodes)]
    assert [each.wait(200) for each in both] == [0, 0], said('0.txt')
    assert start('whole.txt', '--work-dir', 'whole', *EPOCHS).wait(200) == 0
    assert_equal('whole/epoch_30.pth', 'parts/epoch_30.pth')


def test_a_demo_on_two_machines(start, nodes):
    options = ['--demo', '--work-dir', 'demo']
    both = [start(f'{i}.txt', *options, processes=1, **each) for i, each in enumerate(nodes)]
    assert [each.wait(280) for each in both] == [0, 0], said('0.txt')
    assert 'Training finished' in said('0.txt') and 'Training finished' not in said('1.txt')
    assert not Path('demo', 'run.lock').exists()
