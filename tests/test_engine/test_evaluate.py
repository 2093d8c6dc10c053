"""Evaluating a checkpoint, for real."""

import pickle

import pytest
import torch

from mmattn.engine import test as former
from mmattn.engine.evaluate import evaluate
from mmattn.utils.errors import UserError


def test_metrics_predictions_and_pictures(trained, finished):
    checkpoint = 'work_dirs/tiny/epoch_2.pth'
    tested = evaluate('tiny.py', checkpoint, out='predictions.pkl', show_dir='pictures')
    assert tested.metrics == finished[1].metrics
    assert tested.progress == '' and tested.best_checkpoint is None
    assert len(pickle.loads((trained / 'predictions.pkl').read_bytes())) == 8
    assert len(list((trained / 'pictures').glob('*.png'))) == 8


def test_pictures_without_a_visualizer_in_the_config(trained):
    text = (trained / 'tiny.py').read_text()
    (trained / 'tiny.py').write_text(text.replace('visualizer = ', 'unused = '))
    evaluate('tiny.py', 'work_dirs/tiny/epoch_2.pth', show_dir='pictures')
    assert len(list((trained / 'pictures').glob('*.png'))) == 8


@pytest.mark.parametrize('key', ['conv1.weight', 'head.fc.weight'])
def test_checkpoint_that_does_not_fit(project, key):
    torch.save({'state_dict': {key: torch.zeros(2, 128)}}, 'other.pth')
    with pytest.raises(UserError, match='does not fit'):
        evaluate('tiny.py', 'other.pth')


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'out': 'predictions.txt'}, '.pkl'),
        ({'checkpoint': 'nowhere.pth'}, 'does not exist'),
        ({'checkpoint': 'text.pth'}, "'text.pth' cannot be read"),
        ({'cfg_options': ['test_dataloader=None']}, 'no test_dataloader'),
    ],
)
def test_wrong_use(project, changes, words):
    torch.save({'state_dict': {}}, 'some.pth')
    (project / 'text.pth').write_text('weights of a network')
    checkpoint = changes.pop('checkpoint', 'some.pth')
    with pytest.raises(UserError, match=words):
        evaluate('tiny.py', checkpoint, **changes)


def test_the_former_name_is_alive():
    assert former.test is evaluate
