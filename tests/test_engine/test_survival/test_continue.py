"""What the runner itself continues from, whoever started it."""

import shutil

import pytest
import torch

from mmattn.utils.errors import UserError

from .conftest import toy


@pytest.fixture
def done(work_dir):
    """The work dir of a run of two epochs."""
    toy(work_dir, epochs=2).train()
    return work_dir


def notes(runner):
    """What the runner says while it trains."""
    said = []
    warn = runner.logger.warning
    runner.logger.warning = lambda text, *args: (said.append(text), warn(text, *args))
    runner.train()
    return ' '.join(map(str, said))


def first_iteration(runner):
    """Where the run went on; its checkpoints of later epochs are new."""
    return runner._load_from and runner._load_from.rpartition('/')[2]


@pytest.mark.parametrize('resume', [True, 'auto'])
def test_the_newest_sound_one(done, resume):
    runner = toy(done, epochs=3, resume=resume)
    assert 'passed over' not in notes(runner)
    assert first_iteration(runner) == 'epoch_2.pth'


def test_a_damaged_one_is_passed_over(done):
    content = (done / 'epoch_2.pth').read_bytes()
    (done / 'epoch_2.pth').write_bytes(content[:-1000])
    runner = toy(done, epochs=3, resume=True)
    assert 'epoch_2.pth is passed over: it ' in notes(runner)
    assert first_iteration(runner) == 'epoch_1.pth'
    assert torch.load(done / 'epoch_2.pth', weights_only=False)['meta']['iter'] == 4


def test_another_models_is_passed_over(done, tmp_path):
    toy(tmp_path / 'other', epochs=2, width=64).train()
    shutil.copy(tmp_path / 'other' / 'epoch_2.pth', done / 'epoch_2.pth')
    # the command has chosen by itself, without the model
    runner = toy(done, epochs=3, resume='auto', load_from=str(done / 'epoch_2.pth'))
    assert 'epoch_2.pth is passed over: it is of another model' in notes(runner)
    assert first_iteration(runner) == 'epoch_1.pth'


def test_a_work_dir_of_another_model_is_refused(done):
    before = {path.name: path.read_bytes() for path in done.glob('*.pth')}
    with pytest.raises(UserError, match='no checkpoint in .* fits the model'):
        toy(done, epochs=3, resume=True, width=64).train()
    assert {path.name: path.read_bytes() for path in done.glob('*.pth')} == before


def test_an_empty_work_dir_starts_anew(work_dir):
    runner = toy(work_dir, epochs=1, resume=True)
    assert 'holds no checkpoint; the run starts anew' in notes(runner)
    assert runner.iter == 2


@pytest.mark.parametrize('damage', [b'', b'text'])
def test_a_named_one_that_is_damaged_ends_the_run_before_it_begins(done, damage):
    (done / 'epoch_2.pth').write_bytes(damage)
    runner = toy(done, epochs=3, resume=True, load_from=str(done / 'epoch_2.pth'))
    with pytest.raises(UserError, match='epoch_2.pth.* cannot be continued from: it'):
        runner.train()
    assert runner.iter == 0


def test_what_is_only_loaded_needs_no_optimizer(done):
    path = done / 'weights.pth'
    torch.save(dict(state_dict=toy(done.parent / 'x').model.state_dict()), path)
    toy(done.parent / 'new', epochs=1, load_from=str(path)).train()
