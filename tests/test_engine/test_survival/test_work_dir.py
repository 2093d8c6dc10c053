"""One run to a work dir, the dead recognised; an earlier run is not overwritten unasked."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS

from mmattn.engine.survival import lock
from mmattn.engine.survival.lock import LOCK_FILE, Lock
from mmattn.engine.survival.work_dir import left_behind, locked, lost_to
from mmattn.engine.train import train
from mmattn.utils.errors import UserError


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """A process that holds the lock of wd."""
    monkeypatch.chdir(tmp_path)
    # a short stand-in for the import of everything
    process = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    write(pid=process.pid, born=lock._born(process.pid))
    yield process
    process.kill()
    process.wait()


def write(folder='wd', age=0, **changes):
    """The lock of a process on this machine, unless told."""
    path = Path(folder, LOCK_FILE)
    path.parent.mkdir(exist_ok=True)
    said = dict(pid=1, host=socket.gethostname(), since='today', command='train.py x', born='0')
    said.update(machine=lock._machine(), job=None, restarts=0)
    path.write_text(json.dumps({**said, **changes}))
    os.utime(path, (time.time() - age,) * 2)


def test_a_second_run_is_refused_by_the_name_of_the_first(holder):
    expected = (
        f'wd is in use by process {holder.pid} on {socket.gethostname()} '
        r'\(since today: train.py x\). Wait for its end, or use another --work-dir.$'
    )
    with pytest.raises(UserError, match=expected):
        Lock('wd')
    assert os.listdir('wd') == [LOCK_FILE]


def test_the_lock_of_a_dead_process_is_taken_over(holder):
    holder.kill()
    holder.wait()
    mine = Lock('wd')
    assert mine.note.startswith(f'the lock of process {holder.pid} on')
    assert json.loads(mine.path.read_text())['pid'] == os.getpid()
    mine.release()
    assert os.listdir('wd') == []


def test_a_process_that_is_over_but_not_buried_is_dead(holder):
    holder.kill()
    deadline = time.monotonic() + 20
    while lock._born(holder.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Path(f'/proc/{holder.pid}').exists()  # a zombie
    Lock('wd').release()


def test_another_process_with_the_id_of_a_dead_one(holder):
    write(pid=holder.pid, born='1')
    Lock('wd').release()


@pytest.mark.parametrize(
    ('changes', 'age', 'taken'),
    [
        (dict(host='other', machine='other'), 30, False),
        (dict(host='other', machine='other'), 601, True),
        # this one, before it was started anew
        (dict(machine='another-boot pid:[1]'), 0, True),
        # the same boot, in another container
        (dict(machine=f'{lock._machine().split()[0]} pid:[1]'), 30, False),
    ],
)
def test_of_another_machine_the_last_sign_of_life_counts(project, changes, age, taken):
    write(age=age, **changes)
    if taken:
        Lock('wd').release()
        return
    with pytest.raises(UserError, match=r'was 3\d s ago, or once wd/run.lock is deleted'):
        Lock('wd')


@pytest.mark.parametrize('text', ['', '[', '{}', '[1]', '{"pid": "../..", "machine": 3}'])
def test_a_lock_that_says_nothing_counts_for_ten_minutes(project, text):
    Path('wd').mkdir()
    path = Path('wd', LOCK_FILE)
    path.write_text(text)
    with pytest.raises(UserError, match='wd is in use by an unnamed process'):
        Lock('wd')
    os.utime(path, (time.time() - 601,) * 2)
    Lock('wd').release()


def test_a_job_that_is_started_again_comes_through(project, monkeypatch):
    elsewhere = dict(host='other', machine='other')
    write(job='Slurm 7', **elsewhere)
    monkeypatch.setenv('SLURM_JOB_ID', '7')
    with pytest.raises(UserError, match='in use'):  # a second run in the same job
        Lock('wd')
    write(job='Slurm 7', **elsewhere)
    monkeypatch.setenv('SLURM_RESTART_COUNT', '1')
    Lock('wd').release()
    write(job='Slurm 8', **elsewhere)
    with pytest.raises(UserError, match='in use'):
        Lock('wd')


def test_a_sign_of_life_is_given_and_a_loss_noticed(project, monkeypatch):
    monkeypatch.setattr(lock, 'BEAT', 0.01)
    with locked('wd') as notes:
        assert notes == [] and lost_to('wd') is None
        with locked(os.path.abspath('wd')):  # as the runner does
            pass
        path = Path('wd', LOCK_FILE)
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 20
        while path.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1
        write(host='other', machine='other')
        while not lost_to('wd') and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 'process 1 on other' in lost_to('wd')
    # what is another's stays
    assert path.exists() and lost_to('wd') is None


def race(start, name):
    start.wait()
    try:
        Lock('wd')
        Path(name).touch()
    except UserError:
        os._exit(1)
    time.sleep(60)


def test_of_several_one_takes_a_dead_processes_lock(project, monkeypatch):
    write(pid=1, born='0')
    # Between its being found dead and its being replaced.
    monkeypatch.setattr(lock, '_seconds_since_life', lambda path: time.sleep(0.2) or 0)
    fork = multiprocessing.get_context('fork')
    start = fork.Barrier(8)
    racing = [fork.Process(target=race, args=(start, f'won_{number}')) for number in range(8)]
    for each in racing:
        each.start()
    deadline = time.monotonic() + 60
    while sum(each.is_alive() for each in racing) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    (winner,) = [each for each in racing if each.is_alive()]
    winner.kill()
    for each in racing:
        each.join()
    assert len(list(Path().glob('won_*'))) == 1


def test_a_folder_that_cannot_be_written(project):
    Path('file').touch()
    with pytest.raises(UserError, match='file/run.lock cannot be written: (Not a dir|File exists)'):
        Lock('file')


def test_a_training_in_use_is_refused_before_any_work(project, holder):
    write('work_dir', pid=holder.pid, born=lock._born(holder.pid))
    before = Path('work_dir', LOCK_FILE).read_text()
    with pytest.raises(UserError, match='work_dir is in use by process'):
        train(str(project / 'tiny.py'), work_dir='work_dir', resume='auto')
    assert os.listdir('work_dir') == [LOCK_FILE]
    assert Path('work_dir', LOCK_FILE).read_text() == before


def test_an_earlier_run_is_refused_continued_or_deleted(trained, capsys):
    folder = trained / 'work_dirs' / 'tiny'
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with pytest.raises(UserError) as error:
        train('tiny.py')
    for word in ('epoch_2.pth', '--resume', '--work-dir', '--overwrite'):
        assert word in str(error.value)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    with pytest.raises(UserError, match='not both'):
        train('tiny.py', resume='auto', overwrite=True)

    train('tiny.py', overwrite=True, cfg_options=['train_cfg.max_epochs=1'])
    assert 'note: 3 checkpoints of an earlier run are deleted' in capsys.readouterr().out
    assert not (folder / 'epoch_2.pth').exists() and (folder / 'epoch_1.pth').exists()


def test_what_is_left_behind(tmp_path):
    names = ['epoch_0.pth', 'iter_0.pth', 'pretrained.pth', 'notes.txt']
    for name in names:
        (tmp_path / name).touch()
    assert left_behind(tmp_path) == []
    for name in ('epoch_2.pth', 'best_acc_epoch_1.pth', 'last_checkpoint', 'summary.json'):
        (tmp_path / name).touch()
    found = [path.name for path in left_behind(tmp_path)]
    assert found[0] == 'epoch_2.pth' and len(found) == 4


class Demo:
    """An earlier demo's folder may be overwritten, no other."""

    def owns(self, work_dir):
        return Path(work_dir, 'demo_data').is_dir()

    def prepare(self, cfg):
        return []

    def finish(self, cfg, summary):
        return []


def test_a_demo_overwrites_demos_only(trained):
    folder = 'work_dirs/tiny'
    with pytest.raises(UserError, match='holds an earlier run'):
        train('tiny.py', work_dir=folder, demo=Demo())
    Path(folder, 'demo_data').mkdir()
    train('tiny.py', work_dir=folder, demo=Demo(), cfg_options=['train_cfg.max_epochs=1'])
    assert not Path(folder, 'epoch_2.pth').exists()


def test_a_job_started_again_continues_whatever_it_was_told(trained, monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    summary = train('tiny.py', overwrite=True, cfg_options=['train_cfg.max_epochs=3'])
    assert summary.progress == '3 epochs, 6 iterations'
    assert (trained / 'work_dirs' / 'tiny' / 'epoch_1.pth').exists()  # of the earlier run


def test_the_toolboxes_own_commands_warn_of_an_earlier_run(trained, capfd):
    cfg = Config.fromfile('tiny.py')
    cfg.update(work_dir='work_dirs/tiny', runner_type='mmattn.Runner', launcher='none', env_cfg={})
    RUNNERS.build(cfg).train()
    said = capfd.readouterr()
    assert 'holds an earlier run (epoch_2.pth), which this one overwrites' in said.out + said.err
