"""A training of a second, without a toolbox, whose scores are told beforehand."""

import errno
import os
import resource
from contextlib import contextmanager

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import nn

from mmattn.engine.runner import Runner

# Bytes that a file has at most on the full disk; logs have fewer, checkpoints more.
LIMIT = 100_000


class Net(BaseModel):
    """A model of 130 kB."""

    def __init__(self, width=128):
        super().__init__()
        self.first, self.last = nn.Linear(width, 256), nn.Linear(256, 1)

    def forward(self, inputs, mode='tensor'):
        loss = self.last(self.first(inputs)).square().mean()
        return [BaseDataElement()] if mode == 'predict' else dict(loss=loss)


class Scores(Evaluator):
    """An evaluator that says what it was given, one dict a validation."""

    def __init__(self, scores):
        super().__init__([])
        self.scores = iter(scores)

    def process(self, *args, **options):
        pass

    def evaluate(self, size):
        return next(self.scores)


@contextmanager
def full_disk():
    """No file may have more than LIMIT bytes: the system refuses what goes beyond, half-way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield os.strerror(errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Disk(Hook):
    """Fills the disk while a checkpoint of some epochs is written, or a best one."""

    priority = 'VERY_LOW'  # and registered before the checkpoint hook

    def __init__(self, full=(), full_best=(), at_end=False):
        self.full, self.full_best, self.at_end = full, full_best, at_end
        self.filled = None

    def _set(self, fill):
        if fill and not self.filled:
            self.filled = full_disk()
            self.filled.__enter__()
        elif self.filled and not fill:
            self.filled.__exit__(None, None, None)
            self.filled = None

    def before_train_epoch(self, runner):
        self._set(False)

    before_val_epoch = after_run = before_train_epoch

    def after_train_epoch(self, runner):
        self._set(runner.epoch + 1 in self.full)

    def after_val_epoch(self, runner, metrics=None):
        self._set(runner.epoch in self.full_best)

    def after_train(self, runner):
        self._set(self.at_end)


def toy(folder, scores=(), epochs=3, hooks=(), cls=Runner, width=128, **more):
    """A runner of epochs of two iterations; with scores it validates after each epoch.

    ``checkpoint`` are the arguments of the checkpoint hook.
    """
    torch.manual_seed(0)
    data = torch.randn(8, width)
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=[dict(inputs=each) for each in data],
        sampler=dict(type=DefaultSampler, shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    checkpoint = dict(dict(type='CheckpointHook', interval=1), **more.pop('checkpoint', {}))
    options = dict(
        model=Net(width),
        work_dir=str(folder),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1)),
        custom_hooks=[*hooks, checkpoint],
        randomness=dict(seed=0),
        experiment_name=f'{folder.parent.name}_{folder.name}',
    )
    if scores:
        options.update(val_dataloader=loader, val_cfg={}, val_evaluator=Scores(scores))
    return cls(**{**options, **more})


@pytest.fixture
def work_dir(tmp_path):
    return tmp_path / 'run'


@pytest.fixture(autouse=True)
def room_on_the_disk():
    """Whatever a test does to the disk ends with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
