"""A run stops before non-finite weights are saved."""

from types import SimpleNamespace

import pytest
import torch

from mmattn.engine.non_finite import NonFiniteLossHook
from mmattn.engine.train import train
from mmattn.utils.errors import InvalidValue, UserError


@pytest.mark.parametrize(
    ('step', 'what'), [(2, r'loss \(.*\) in iteration 4'), (3, 'weights in iteration 4')]
)
def test_no_checkpoint_with_non_finite_weights(project, step, what):
    # The rate explodes in the second epoch's first step, or in its last, whose loss is fine.
    jump = f"dict(type='MultiStepLR', milestones=[{step}], gamma=1e50, by_epoch=False)"
    with open('tiny.py', 'a') as file:
        file.write(f'param_scheduler = {jump}')
    with pytest.raises(UserError, match=f'non-finite {what}') as error:
        train('tiny.py', seed=0)
    assert error.value.exit_code == 1
    (path,) = (project / 'work_dirs' / 'tiny').glob('epoch_*.pth')
    weights = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


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
