"""No non-finite gradient is applied: the run stops or goes back, and says where it began."""

import copy
import multiprocessing
import os
import re
import multiprocessing
import os
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn.engine.hooks import NonFiniteLossHook
from mmattn.engine.runner import Runner
from mmattn.engine.summary import RecordHook
from mmattn.engine.survival import step_guard
from mmattn.engine.survival.finite import FiniteHook
from mmattn.engine.train import train
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
    """What the run was before each iteration."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.states, self.iterations, self.with_gradients = {}, [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.iterations.append(runner.iter)
        if any(weight.grad is not None for weight in runner.model.parameters()):
            self.with_gradients.append(runner.iter)
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


def but_rates(state):
    """Weights, buffers and momenta; schedulers change the rest."""
    model, optimizer = state
    return [model, optimizer['state']]


def run(
    folder,
    how=None,
    spoilt=False,
    survival=None,
    hooks=(),
    batch_size=4,
    model_wrapper_cfg=None,
    compile=False,
    **more,
):
    """A runner of two epochs of four iterations; batch 2 of each is the bad one."""
    torch.manual_seed(0)
    before = Before()
    options = dict(
        model=Net(how),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=batch_size,
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
        cfg=Config(
            dict(survival=survival or {}, model_wrapper_cfg=model_wrapper_cfg, compile=compile)
        ),
        randomness=dict(seed=0),
        experiment_name=f'{folder.parent.name}_{folder.name}',
    )
    runner = Runner(**{**options, **more})
    runner.seen = before
    return runner


def stopped(runner):
    with pytest.raises(UserError, match='training stopped') as error:
        runner.train()
    assert error.value.exit_code == 1
    return str(error.value)


@pytest.mark.parametrize(
    ('how', 'spoilt', 'began', 'files'),
    [
        ('forward', False, 'spoil', '4.png, 5.png, 6.png, 7.png'),
        ('backward', False, 'the backward pass, behind the output of first.*', '4.png, .*'),
        (None, True, r'the batch itself \(inputs\)', '5.png'),
    ],
)
def test_the_step_is_left_out_and_the_origin_named(tmp_path, how, spoilt, began, files):
    runner = run(tmp_path, how, spoilt)
    message = stopped(runner)
    what = 'gradient' if how == 'backward' else r'loss \(loss=nan\)'
    where = 'iteration 2, epoch 1, at learning rate 0.0'
    assert re.search(
        rf'non-finite {what} in {where}.*It began in {began}\. Batch: {files}\. ', message
    )
    assert runner.seen.iterations == [0, 1]
    assert same(state(runner), runner.seen.states[1])
    assert not same(state(runner), runner.seen.states[0])


def test_weights_that_were_not_finite_are_named(tmp_path):
    class Ruin(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 2:
                runner.model.second[0].weight.data[0] = float('inf')

    message = stopped(run(tmp_path, hooks=[Ruin()]))
    assert 'in iteration 3, ' in message
    assert 'began in second.0, whose own weights are not finite. ' in message


def test_a_statistic_that_overflows_stops_although_the_loss_is_finite(tmp_path):
    # Its variance is infinite, so that it divides all it gets to nothing.
    class Blow(nn.Module):
        def forward(self, x):
            return x * 1e25

    runner = run(tmp_path)
    runner.model.first.insert(1, Blow())
    message = stopped(runner)
    assert 'non-finite gradient in iteration 1, ' in message
    assert all(value.isfinite().all() for value in runner.model.state_dict().values())


def test_accumulated_gradients_are_of_several_batches(tmp_path):
    wrapper = dict(accumulative_counts=3, optimizer=dict(type='AdamW', lr=0.1))
    runner = run(tmp_path, 'forward', optim_wrapper=wrapper)
    message = stopped(runner)
    assert 'in iteration 3, ' in message
    assert 'Batch: 4.png, 5.png, 6.png, 7.png. ' in message
    assert same(state(runner), runner.seen.states[0])


@pytest.mark.parametrize('clip', [dict(max_norm=1), dict(type='value', clip_value=0.1)])
def test_with_clipping(tmp_path, clip):
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    wrapper = dict(clip_grad=clip, optimizer=optimizer)
    runner = run(tmp_path, 'backward', optim_wrapper=wrapper)
    stopped(runner)
    assert same(state(runner), runner.seen.states[1])


def test_averaged_weights_are_untouched(tmp_path):
    runner = run(tmp_path, 'forward', hooks=[dict(type='EMAHook', update_buffers=True)])
    (ema,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    stopped(runner)
    assert ema.ema_model.steps == 1
    assert all(value.isfinite().all() for value in ema.ema_model.state_dict().values())


def test_large_gradients_are_finite():
    weight = nn.Parameter(torch.zeros(100))
    guard = step_guard.StepGuard(
        OptimWrapper(torch.optim.SGD([weight], lr=1e-30)), {}, step_guard.Statistics(nn.Identity())
    )
    guard.wrapper.update_params((weight * 1e30).sum())
    # The sum of their squares is not.
    assert guard.outcome() is True
    assert torch.equal(weight, torch.full((100,), -1.0))


def test_nothing_changes_while_all_is_finite(tmp_path):
    guarded, bare = run(tmp_path / 'a'), run(tmp_path / 'b')
    bare._hooks = [hook for hook in bare.hooks if not isinstance(hook, FiniteHook)]
    guarded.train()
    bare.train()
    assert same(state(guarded), state(bare))
    assert not same(state(guarded), guarded.seen.states[0])


class Alternating(Net):
    """A step of either of two optimizers in each iteration."""

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss = self(**data, mode='loss')['loss']
        optim_wrapper['body'].update_params(loss)
        loss = self(**data, mode='loss')['loss']
        optim_wrapper['head'].update_params(loss)
        return dict(loss=loss)


def test_several_optimizers(tmp_path):
    model = Alternating('backward')
    head = list(model.fc.parameters())
    body = [*model.first.parameters(), *model.second.parameters()]
    parts = dict(body=body, head=head)
    wrapper = OptimWrapperDict(
        **{name: OptimWrapper(torch.optim.SGD(part, lr=0.1)) for name, part in parts.items()}
    )
    runner = run(tmp_path, model=model, optim_wrapper=wrapper, param_scheduler=None)
    message = stopped(runner)
    assert 'non-finite gradient in iteration 2' in message
    before, _ = runner.seen.states[1]
    now = runner.model.state_dict()
    # The gradients of the last layer are finite.
    assert [name for name in now if not torch.equal(now[name], before[name])] == [
        'fc.weight',
        'fc.bias',
    ]


class Scaled(OptimWrapper):
    """mmengine's AmpOptimWrapper refuses to work without a GPU."""

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale, growth_interval=10**6)

    def backward(self, loss, **kwargs):
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs):
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()


needs_scaler = pytest.mark.skipif(
    not hasattr(torch, 'amp') or not hasattr(torch.amp, 'GradScaler'),
    reason='needs a loss scaler for the CPU, which torch 2.1 has not',
)


@needs_scaler
def test_a_loss_scaler_may_leave_out_some_steps(tmp_path):
    model = Net()
    wrapper = Scaled(2.0**127, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    runner = run(tmp_path, model=model, optim_wrapper=wrapper, param_scheduler=None)
    runner.train()
    # Three halvings bring a gradient of about one into float32.
    lowered = 127 - int(torch.tensor(wrapper.loss_scaler.get_scale()).log2())
    assert 0 < lowered < 8
    for iteration in range(lowered):
        (weights, _), (next_weights, _) = (runner.seen.states[iteration + i] for i in (0, 1))
        assert same(weights, next_weights)
    assert not same(runner.model.state_dict(), weights)


@needs_scaler
def test_a_loss_scaler_does_not_go_on_for_ever(tmp_path):
    model = Net('forward')
    wrapper = Scaled(1.0, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    options = dict(model=model, optim_wrapper=wrapper, param_scheduler=None)
    # The bad batch comes once in four.
    run(tmp_path / 'patient', **options).train()
    runner = run(tmp_path / 'strict', hooks=[FiniteHook(patience=0)], **options)
    assert 'in iteration 2' in stopped(runner)


@pytest.mark.parametrize('optimizer', ['SGD', 'Adam'])
@pytest.mark.parametrize('fused', [False, True])
def test_a_gpu_never_gets_them_although_the_host_runs_ahead(tmp_path, monkeypatch, fused, optimizer):
    if fused and not hasattr(torch.optim.SGD, '_init_group'):
        pytest.skip('fused optimizers of the CPU need a newer torch')
    monkeypatch.setattr(step_guard, '_runs_behind', lambda tensor: True)
    monkeypatch.setattr(step_guard, '_catch_up', lambda: None)
    settings = dict(type=optimizer, lr=0.1, **(dict(fused=True) if fused else {}))
    runner = run(tmp_path, 'forward', optim_wrapper=dict(optimizer=settings))
    assert 'in iteration 2' in stopped(runner)
    now, before = state(runner), runner.seen.states[1]
    if fused or optimizer == 'SGD':  # without momentum a gradient of zero changes nothing
        assert same(now, before)
    assert all(value.isfinite().all() for value in now[0].values())


def test_the_old_name_and_its_patience(tmp_path):
    hook = NonFiniteLossHook(patience=1)
    runner = run(tmp_path / 'own', 'forward', hooks=[hook])
    assert [h for h in runner.hooks if isinstance(h, FiniteHook)] == [hook]
    runner.train()
    assert same(runner.seen.states[1], runner.seen.states[2])
    named = run(tmp_path / 'named', hooks=[dict(type='mmattn.NonFiniteLossHook')])
    assert sum(isinstance(hook, FiniteHook) for hook in named.hooks) == 1
    with pytest.raises(InvalidValue, match='patience=-1'):
        NonFiniteLossHook(-1)


def train_on_rank(rank, folder, how):
    """A process of a run in which only the second one meets the bad sample."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    runner = run(folder / 'work', how, launcher='none', world=2)
    try:
        runner.train()
    except UserError as error:
        (folder / f'message_{rank}').write_text(str(error))
        torch.save([state(runner), runner.seen.states[runner.iter]], folder / f'states_{rank}')
    os._exit(0)


