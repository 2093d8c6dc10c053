"""No non-finite gradient is applied: the run stops or goes back, and says where it began."""

import copy
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.structures import BaseDataElement
from torch import nn

from mmattn.engine.hooks import NonFiniteLossHook
from mmattn.engine.runner import Runner
from mmattn.engine.survival.finite import FiniteHook
from mmattn.engine.survival.step_guard import Statistics, StepGuard
from mmattn.utils.errors import InvalidValue, UserError

BAD = 5  # The sample that spoils its batch: of four, the second batch.


class Images(torch.utils.data.Dataset):
    """Sixteen noise images with their file names."""

    metainfo = {}

    def __init__(self, spoilt=False):
        self.images = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        if spoilt:
            self.images[BAD, 1, 2, 3] = float('inf')

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        sample = BaseDataElement(metainfo=dict(img_path=f'{index}.png', sample_idx=index))
        return dict(inputs=self.images[index], data_samples=sample)


class BackwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float('nan')


class Spoil(nn.Module):
    """Spoils the forward or the backward pass when it is told to."""

    def __init__(self, how=None):
        super().__init__()
        self.how, self.now = how, False

    def forward(self, x):
        if not self.now or self.how is None:
            return x
        return BackwardOnly.apply(x) if self.how == 'backward' else x / 0


class Net(BaseModel):
    def __init__(self, how=None):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.spoil = Spoil(how)
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(4, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.spoil.now = any(sample.sample_idx == BAD for sample in data_samples)
        x = self.second(self.spoil(self.first(inputs)))
        return dict(loss=self.fc(self.drop(x.mean((2, 3)))).square().mean())


class Before(Hook):
    """What the run was before each iteration, and that nothing follows on a bad one."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.states, self.iterations = {}, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.iterations.append(runner.iter)
        self.states[runner.iter] = state(runner)


def state(runner):
    return copy.deepcopy([runner.model.state_dict(), runner.optim_wrapper.state_dict()])


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def run(folder, how=None, spoilt=False, survival=None, hooks=(), **more):
    """A runner of two epochs of four iterations; batch 2 of each is the bad one."""
    torch.manual_seed(0)
    before = Before()
    options = dict(
        model=Net(how),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=Images(spoilt),
            sampler=dict(type=DefaultSampler, shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.01)),
        param_scheduler=dict(type='LinearLR', by_epoch=False, end=8),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        custom_hooks=[before, *hooks],
        cfg=Config(dict(survival=survival or {})),
        randomness=dict(seed=0),
        **more,
    )
    runner = Runner(**options)
    runner.seen = before
    return runner


def stopped(runner):
    with pytest.raises(UserError, match='training stopped') as error:
        runner.train()
    assert error.value.exit_code == 1
    return str(error.value)


@pytest.mark.parametrize(
    'how,spoilt,began,files',
    [
        ('forward', False, 'spoil', '4.png, 5.png, 6.png, 7.png'),
        ('backward', False, 'the backward pass, behind the output of first', '4.png'),
        (None, True, r'the batch itself \(inputs\)', '5.png'),
    ],
)
def test_the_step_is_left_out_and_the_origin_named(tmp_path, how, spoilt, began, files):
    runner = run(tmp_path, how, spoilt)
    message = stopped(runner)
    kind = 'gradient' if how == 'backward' else r'loss \(loss=nan\)'
    pattern = f'non-finite {kind} in iteration 2, epoch 1, .*It began in {began}.* Batch: {files}'
    import re

    assert re.search(pattern, message)
    assert runner.seen.iterations == [0, 1]
    assert same(state(runner), runner.seen.states[1])
    assert not same(state(runner), runner.seen.states[0])
