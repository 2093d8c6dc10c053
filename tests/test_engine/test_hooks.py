"""A run stops before non-finite weights are saved."""

from types import SimpleNamespace

import pytest
import torch

from mmattn.engine.hooks import NonFiniteLossHook
from mmattn.engine.summary import RecordHook
from mmattn.engine.train import train
from mmattn.utils.errors import InvalidValue, UserError


def test_no_checkpoint_is_written_after_a_non_finite_loss(project):
    # The rate explodes in the first step of the second epoch.
    with open('tiny.py', 'a') as file:
        file.write("param_scheduler = dict(type='MultiStepLR', milestones=[1], gamma=1e39)")
    with pytest.raises(UserError, match=r'non-finite loss \(.*\) in iteration 4') as error:
        train('tiny.py', seed=0, cfg_options=['train_cfg.max_epochs=4'])
    assert error.value.exit_code == 1
    (path,) = (project / 'work_dirs' / 'tiny').glob('epoch_*.pth')
    weights = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


def test_weights_that_the_last_step_ruined_are_not_saved(project, monkeypatch):
    def ruin(hook, runner, **_):
        if runner.iter == 3:  # the last of the second epoch; its loss was fine
            next(runner.model.parameters()).data[0] = float('nan')

    monkeypatch.setattr(RecordHook, 'after_train_iter', ruin)
    with pytest.raises(UserError, match='non-finite weights in iteration 4'):
        train('tiny.py', seed=0)
    assert [path.name for path in (project / 'work_dirs' / 'tiny').glob('epoch_*')] == [
        'epoch_1.pth'
    ]


class Fetched:
    def __init__(self, number):
        self.number = number

    def current(self):
        return self.number


class OnDevice(torch.Tensor):
    """A loss that must not be fetched once more."""

    def __float__(self):
        raise AssertionError('synchronised')

    item = __float__


def runner_with(**losses):
    scalars = {f'train/{name}': Fetched(value) for name, value in losses.items()}
    return SimpleNamespace(
        message_hub=SimpleNamespace(log_scalars=scalars),
        optim_wrapper=SimpleNamespace(get_lr=lambda: {'lr': [0.1]}),
        iter=0,
        epoch=0,
        work_dir='w',
    )


def test_losses_that_mmengine_has_fetched_are_not_fetched_again():
    hook = NonFiniteLossHook()
    outputs = dict(loss=OnDevice(), loss_cls=OnDevice(), accuracy=OnDevice())
    hook.after_train_iter(runner_with(loss=1.0, loss_cls=2.0), 0, outputs=outputs)
    with pytest.raises(UserError, match=r'non-finite loss \(loss_cls=inf\) in iteration 1'):
        hook.after_train_iter(runner_with(loss=1.0, loss_cls=float('inf')), 0, outputs=outputs)


def test_a_few_in_a_row_are_let_pass():
    hook = NonFiniteLossHook(patience=2)
    for loss in [float('nan')] * 2 + [1.0] + [float('nan')] * 2:
        hook.after_train_iter(runner_with(), 0, outputs=dict(loss=torch.tensor(loss)))
    with pytest.raises(UserError, match='loss=nan'):
        hook.after_train_iter(runner_with(), 0, outputs=dict(loss=torch.tensor(float('nan'))))


def test_patience_is_a_count():
    with pytest.raises(InvalidValue, match='patience=-1'):
        NonFiniteLossHook(-1)
