"""Signals in a run: noted, agreed on, saved, told; and where they would be lost or doubled."""

import os
import signal

import pytest

from mmattn.engine import cli
from mmattn.engine.evaluate import evaluate
from mmattn.engine.summary import RecordHook
from mmattn.engine.survival import signals
from mmattn.engine.train import train
from mmattn.utils.errors import Interrupted

STATUS = [('SIGINT', 130), ('SIGTERM', 143), ('SIGHUP', 129), ('SIGUSR1', 75)]
EPOCHS = ['train_cfg.max_epochs=5']


def send(name='SIGINT'):
    os.kill(os.getpid(), getattr(signal, name))


@pytest.fixture
def handler():
    """mmattn's handlers for the test, as a command has them."""
    with signals.handled():
        yield


@pytest.fixture
def send_in(monkeypatch):
    """Has a signal sent in the iteration of a number, of training or of an evaluation."""

    def arrange(iteration, name='SIGTERM', stage='train', then=lambda: None):
        seen = []

        def receive(hook, runner, batch_idx, data_batch=None, outputs=None):
            seen.append(runner.iter if stage == 'train' else batch_idx)
            if len(seen) == iteration:
                send(name)
                then()

        monkeypatch.setattr(RecordHook, f'after_{stage}_iter', receive)
        return seen

    return arrange


@pytest.mark.parametrize(('name', 'status'), STATUS)
def test_a_signal_ends_a_training_after_its_iteration(project, send_in, name, status, capfd):
    seen = send_in(3, name)
    with pytest.raises(Interrupted) as error:
        train('tiny.py', cfg_options=EPOCHS)
    assert seen == [0, 1, 2] and error.value.exit_code == status
    # the iteration is in the middle of the second epoch
    said = 'Ctrl-C' if name == 'SIGINT' else name
    assert f'stopped by {said} at iteration 3 of 10. To continue from iter_3.pth' in str(error.value)
    assert f'{said}: stopping after this iteration (again: at once)' in capfd.readouterr().err
    assert (project / 'work_dirs/tiny/iter_3.pth').is_file()
    assert not (project / 'work_dirs/tiny/run.lock').exists()
