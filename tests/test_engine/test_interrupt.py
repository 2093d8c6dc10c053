"""Ctrl-C at the places where a KeyboardInterrupt would be lost or turned into something else."""

import os
import signal

import pytest

from mmattn.engine import cli, interrupt
from mmattn.engine.summary import RecordHook
from mmattn.engine.train import train
from mmattn.utils.errors import Interrupted


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """mmattn's handler for the test, pytest's own after it."""
    before = signal.getsignal(signal.SIGINT)
    interrupt.install()
    yield
    interrupt.install()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('lost', [False, True])
def test_ctrl_c_in_an_iteration_says_how_to_continue(project, lost, capfd, monkeypatch):
    iterations = []

    def press_in_the_second(hook, runner, batch_idx, data_batch=None, outputs=None):
        iterations.append(runner.iter)
        if runner.iter == 1:
            press_ctrl_c()
            if lost:  # pressed again, it comes out of C++ code as another error
                with pytest.raises(KeyboardInterrupt):
                    press_ctrl_c()
                raise RuntimeError('PytorchStreamWriter failed writing file')

    monkeypatch.setattr(RecordHook, 'after_train_iter', press_in_the_second)
    with pytest.raises(Interrupted) as error:
        train('tiny.py', cfg_options=['train_cfg.max_epochs=5'])
    assert error.value.exit_code == 130
    assert iterations == [0, 1]
    assert 'stopping after this iteration' in capfd.readouterr().err
    # the whole second iteration ends the first epoch, which is saved
    expected = 'there is nothing to continue' if lost else 'To continue from epoch_1.pth'
    assert expected in str(error.value)


def test_ctrl_c_that_became_another_error(capsys):
    def command():
        try:
            press_ctrl_c()
        except KeyboardInterrupt:
            raise RuntimeError('something of C++') from None

    assert cli.run(command) == 130
    assert 'Ctrl-C' in capsys.readouterr().err


def test_ctrl_c_while_starting_acts_at_once():
    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()
