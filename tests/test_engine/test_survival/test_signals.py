"""Signals in a run: noted, agreed on, saved, told; and where they would be lost or doubled."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS

from mmattn.engine import cli
from mmattn.engine.evaluate import evaluate
from mmattn.engine.summary import RecordHook
from mmattn.engine.survival import signals
from mmattn.engine.survival.agreement import Agreement
from mmattn.engine.train import train
from mmattn.utils.errors import Interrupted

STATUS = [('SIGINT', 130), ('SIGTERM', 143), ('SIGHUP', 129), ('SIGUSR1', 75)]
EPOCHS = 'train_cfg.max_epochs=4'
BY_ITERATION = [
    *('train_cfg.by_epoch=False', 'train_cfg.max_iters=8', 'train_cfg.val_interval=2'),
    *('default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=8'),
]
SELDOM = 'default_hooks.checkpoint.interval=3'
AVERAGED = "\ncustom_hooks = [dict(type='EMAHook')]\n"


def send(name='SIGINT'):
    os.kill(os.getpid(), getattr(signal, name))


def weights(path, part='state_dict'):
    return torch.load(path, weights_only=True)[part]


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """Signals that nohup, or a script's `&`, has the tests ignore come through."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def handler():
    """mmattn's handlers for the test, as a command has them."""
    with signals.handled():
        yield


@pytest.fixture
def send_in(monkeypatch):
    """Has a signal sent in an iteration of training, or batch of an evaluation, of a number."""
    with monkeypatch.context() as patch:

        def arrange(number, name='SIGTERM', stage='train', then=lambda: None):
            seen = []

            def receive(hook, runner, batch_idx, data_batch=None, outputs=None):
                seen.append(batch_idx)
                if len(seen) == number:
                    send(name)
                    then()

            patch.setattr(RecordHook, f'after_{stage}_iter', receive)
            return seen

        arrange.undo = patch.undo
        yield arrange


@pytest.mark.parametrize(('name', 'status'), STATUS)
def test_a_signal_ends_a_training_after_its_iteration(project, send_in, name, status, capfd):
    seen = send_in(3, name)
    with pytest.raises(Interrupted) as error:
        train('tiny.py', cfg_options=[EPOCHS])
    assert seen == [0, 1, 0] and error.value.exit_code == status
    said, folder = 'Ctrl-C' if name == 'SIGINT' else name, project / 'work_dirs' / 'tiny'
    # the iteration is in the middle of the second epoch
    expected = f'stopped by {said} at iteration 3 of 8. To continue from iter_3.pth: '
    assert str(error.value).startswith(expected)
    assert f'{said}: stopping after this iteration (again: at once)' in capfd.readouterr().err
    assert (folder / 'iter_3.pth').is_file() and not (folder / 'run.lock').exists()


@pytest.mark.parametrize(
    ('stage', 'number', 'options'),
    [
        ('train', 3, []),  # in an epoch
        ('train', 4, []),  # at its end
        ('val', 3, []),  # the epoch has been saved
        ('val', 3, [SELDOM]),
        ('val', 3, BY_ITERATION),
    ],
)
def test_what_was_stopped_ends_as_what_was_not(project, send_in, stage, number, options):
    if options is BY_ITERATION:
        text = (project / 'tiny.py').read_text().replace('max_epochs=2, ', '')
        (project / 'tiny.py').write_text(text)
        name = 'iter_8.pth'
    else:
        options, name = [EPOCHS, *options], 'epoch_4.pth'
    options = dict(seed=1, cfg_options=options)
    whole = train('tiny.py', work_dir='whole', **options)
    send_in(number, stage=stage)
    with pytest.raises(Interrupted, match='To continue from'):
        train('tiny.py', work_dir='parts', **options)
    send_in.undo()
    parts = train('tiny.py', work_dir='parts', resume='auto', **options)
    one, other = weights(project / 'whole' / name), weights(project / 'parts' / name)
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (parts.metrics, parts.best_score) == (whole.metrics, whole.best_score)
    assert not (project / 'parts' / 'iter_3.pth').exists()  # replaced by those of the intervals


def test_averaged_weights_are_taken_out_before_a_validation_is_saved(project, send_in):
    with open('tiny.py', 'a') as config:
        config.write(AVERAGED)
    send_in(3, stage='val')
    with pytest.raises(Interrupted, match='from iter_4.pth'):
        train('tiny.py', seed=1, cfg_options=[EPOCHS, SELDOM])
    send_in.undo()
    train('tiny.py', work_dir='whole', seed=1)
    for part in ('state_dict', 'ema_state_dict'):
        one, other = weights('work_dirs/tiny/iter_4.pth', part), weights('whole/epoch_2.pth', part)
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_signal_ends_a_test_after_a_batch(trained, send_in):
    seen = send_in(1, stage='test')
    with pytest.raises(
        Interrupted, match='stopped by SIGTERM at batch 1 of 2 of the test'
    ) as error:
        evaluate('tiny.py', 'work_dirs/tiny/epoch_2.pth')
    assert seen == [0] and error.value.exit_code == 143


@pytest.mark.parametrize('pause', [0, 60])
def test_a_second_signal_acts_at_once_unless_it_is_the_first(project, send_in, monkeypatch, pause):
    monkeypatch.setattr(signals, 'SAME', pause)

    def again():
        if pause:  # torchrun has sent it a second time
            send()
            return
        with pytest.raises(KeyboardInterrupt):
            send()
        # it comes out of C++ code as another error
        raise RuntimeError('PytorchStreamWriter failed writing file')

    send_in(1, 'SIGINT', then=again)
    with pytest.raises(Interrupted) as error:
        train('tiny.py')
    expected = 'To continue from iter_1.pth' if pause else 'there is nothing to continue'
    assert expected in str(error.value)


def test_a_signal_that_became_another_error(capsys):
    def command():
        try:
            send('SIGTERM')
        except KeyboardInterrupt:
            raise RuntimeError('something of C++') from None

    before = signal.getsignal(signal.SIGTERM)
    assert cli.run(command) == 143
    assert capsys.readouterr().err == 'error: stopped by SIGTERM.\n'
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_while_starting_acts_at_once(handler):
    with pytest.raises(KeyboardInterrupt):
        send('SIGUSR1')


def test_what_is_ignored_stays_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with signals.handled():
            send('SIGHUP')
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_toolboxes_own_commands_end_with_the_status(project, capsys):
    """As tools/train.py of mmdet, mmseg and mmpretrain do it: nothing else handles signals."""
    cfg = Config.fromfile('tiny.py')
    cfg.update(work_dir='wd', runner_type='mmattn.Runner', launcher='none', env_cfg={})
    cfg.custom_hooks = [dict(type='SendHook')]
    before = signal.getsignal(signal.SIGTERM)
    from mmengine.hooks import Hook
    from mmengine.registry import HOOKS

    @HOOKS.register_module(force=True)
    class SendHook(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            send('SIGTERM')

    with pytest.raises(SystemExit) as end:
        RUNNERS.build(cfg).train()
    assert end.value.code == 143
    assert 'stopped by SIGTERM at iteration 1 of 4' in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before and not os.path.exists('wd/run.lock')


def wait_for(seconds):
    signals.shield()
    time.sleep(seconds)


def test_only_its_parent_ends_a_worker(handler):
    worker = multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,))
    worker.start()
    time.sleep(0.3)
    for name in ('TERM', 'INT', 'HUP', 'USR1'):
        subprocess.run(['kill', f'-{name}', str(worker.pid)], check=True)
    worker.join(0.3)
    assert worker.is_alive()
    worker.terminate()
    worker.join(300)
    assert worker.exitcode == 0


def agree(rank, folder):
    """A process of three: the second one has heard a signal at its third call."""
    where = f'file://{folder}/meeting'
    torch.distributed.init_process_group('gloo', init_method=where, rank=rank, world_size=3)
    agreement = Agreement()
    told = [agreement.greatest(15 * (rank == 1 and call >= 2)) for call in range(5)]
    found = [told, agreement.least(10 + rank), agreement.close()]
    Path(folder, str(rank)).write_text(json.dumps(found))
    torch.distributed.barrier()
    os._exit(0)


def test_processes_agree_on_where_they_stop(tmp_path):
    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=agree, args=(rank, tmp_path)) for rank in range(3)]
    for process in processes:
        process.start()
    for rank, process in enumerate(processes):
        process.join(300)
        found = json.loads((tmp_path / str(rank)).read_text())
        assert found == [[0, 0, 0, 15, 15], 10, 15]
