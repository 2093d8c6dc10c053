"""Training, continuing and testing a tiny classifier for real, in this process."""

import pickle

import numpy as np
import pytest
import torch

from mmattn.engine.test import test as run_test
from mmattn.engine.train import train
from mmattn.utils.errors import UserError


def test_train_resume_and_test(project, capsys):
    summary = train('tiny.py', seed=1)
    assert summary.metrics['accuracy/top1'] >= 50
    assert summary.best_metric == 'accuracy/top1'
    assert summary.best_checkpoint.startswith(str(project / 'work_dirs' / 'tiny'))
    assert summary.attention == 'SE'
    out = capsys.readouterr().out
    assert 'best checkpoint' in out
    assert 'System environment' not in out
    log = next((project / 'work_dirs' / 'tiny').glob('*/*.log')).read_text()
    assert 'System environment' in log
    assert not list((project / 'work_dirs' / 'tiny').glob('.*.part'))

    # continue a moved run whose newest checkpoint is cut off
    moved = project / 'moved'
    (project / 'work_dirs' / 'tiny').rename(moved)
    newest = moved / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:5000])
    again = train(
        'tiny.py', work_dir='moved', resume='auto', cfg_options=['train_cfg.max_epochs=3']
    )
    out = capsys.readouterr().out
    assert 'epoch_2.pth cannot be read' in out
    assert 'continues from moved/epoch_1.pth' in out
    assert again.progress == '3 epochs, 6 iterations'

    tested = run_test(
        'tiny.py', str(moved / 'epoch_3.pth'), out='predictions.pkl', show_dir='pictures'
    )
    assert set(tested.metrics) == {'accuracy/top1'}
    assert len(pickle.loads((project / 'predictions.pkl').read_bytes())) == 8
    assert len(list((project / 'pictures').glob('*.png'))) == 8


def test_resume_without_a_checkpoint_starts_anew(project, capsys):
    summary = train('tiny.py', resume='auto', cfg_options=['train_cfg.max_epochs=1'])
    assert 'starts anew' in capsys.readouterr().out
    assert summary.progress == '1 epoch, 2 iterations'


def test_non_finite_loss_stops_before_it_is_saved(project):
    with pytest.raises(UserError, match='non-finite loss.*iteration') as error:
        train('tiny.py', cfg_options=['optim_wrapper.optimizer.lr=1e30'])
    assert error.value.exit_code == 1
    for path in (project / 'work_dirs' / 'tiny').glob('*.pth'):
        weights = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
        assert all(np.isfinite(value.numpy()).all() for value in weights.values())


@pytest.mark.parametrize(
    ('weights', 'words'),
    [
        ({'conv1.weight': torch.zeros(64, 3, 7, 7)}, 'not one of its 1 keys'),
        ({'head.fc.weight': torch.zeros(2, 128)}, "only 0 of the backbone's"),
    ],
)
def test_checkpoint_that_does_not_fit(project, weights, words):
    torch.save({'state_dict': weights}, 'other.pth')
    with pytest.raises(UserError, match=words):
        run_test('tiny.py', 'other.pth')


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'out': 'predictions.txt'}, '.pkl'),
        ({'checkpoint': 'nowhere.pth'}, 'does not exist'),
        ({'cfg_options': ['test_dataloader=None']}, 'no test_dataloader'),
    ],
)
def test_wrong_use_of_test(project, changes, words):
    torch.save({'state_dict': {}}, 'some.pth')
    checkpoint = changes.pop('checkpoint', 'some.pth')
    with pytest.raises(UserError, match=words):
        run_test('tiny.py', checkpoint, **changes)


def test_demo_and_data_root_exclude_each_other(project):
    with pytest.raises(UserError, match='--demo'):
        train('tiny.py', demo=True, data_root='.')


def test_interrupted_write_leaves_the_old_checkpoint(project, monkeypatch):
    train('tiny.py', cfg_options=['train_cfg.max_epochs=1'])
    path = project / 'work_dirs' / 'tiny' / 'epoch_1.pth'
    before = path.read_bytes()

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr('mmattn.engine.runner.os.fsync', fail)
    with pytest.raises(OSError, match='disk full'):
        train('tiny.py', cfg_options=['train_cfg.max_epochs=1'])
    assert path.read_bytes() == before
