"""No non-finite gradient is applied: the run stops or goes back, and says where it began."""

import copy
import json
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
    assert same(but_rates(state(runner)), but_rates(runner.seen.states[0]))


class Once(BaseDataPreprocessor):
    """Changes samples for good, as mmseg's does when it pads labels."""

    def forward(self, data, training=False):
        for sample in data['data_samples']:
            assert not sample.get('done')
            sample.set_metainfo(dict(done=True))
        return super().forward(data, training)


def test_the_batch_is_not_preprocessed_again(tmp_path):
    model = Net('forward')
    model.data_preprocessor = Once()
    assert 'It began in spoil. ' in stopped(run(tmp_path, model=model))


def test_a_compiled_step_is_guarded(tmp_path):
    # By the image: torch 2.1 compiles away what a module or a Function does now and then.
    runner = run(tmp_path, spoilt=True, compile=dict(backend='eager'))
    assert 'in iteration 2, ' in stopped(runner)
    assert same(state(runner), runner.seen.states[1])


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
    guarded = run(tmp_path / 'guarded')
    guarded.train()
    bare = run(tmp_path / 'bare')
    bare._hooks = [hook for hook in bare.hooks if not isinstance(hook, FiniteHook)]
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
    model.fc.weight.data *= 30
    wrapper = Scaled(2.0**127, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    runner = run(tmp_path, model=model, optim_wrapper=wrapper, param_scheduler=None)
    runner.train()
    lowered = 127 - int(torch.tensor(wrapper.loss_scaler.get_scale()).log2())
    assert 1 < lowered < 8
    for iteration in range(lowered):
        assert same(runner.seen.states[iteration], runner.seen.states[iteration + 1])
    assert not same(state(runner), runner.seen.states[0])


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
def test_a_gpu_never_gets_them_although_the_host_runs_ahead(
    tmp_path, monkeypatch, fused, optimizer
):
    if fused and not hasattr(torch, '_fused_sgd_'):
        pytest.skip('torch 2.1 has no fused optimizers of the CPU')
    monkeypatch.setattr(step_guard, '_runs_behind', lambda tensor: True)
    monkeypatch.setattr(step_guard, '_catch_up', lambda: None)
    settings = dict(type=optimizer, lr=0.1, **(dict(fused=True) if fused else {}))
    runner = run(tmp_path, 'forward', optim_wrapper=dict(optimizer=settings))
    assert 'in iteration 2' in stopped(runner)
    now, before = state(runner), runner.seen.states[1]
    if fused or optimizer == 'SGD':  # without momentum a gradient of zero changes nothing
        assert same(now, before)
    assert all(value.isfinite().all() for value in now[0].values())


def test_a_good_step_does_not_hide_a_bad_one_before_it():
    weight = nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0))
    guard = step_guard.StepGuard(wrapper, {weight: 'w'}, step_guard.Statistics(nn.Identity()))
    wrapper.update_params((weight / 0).sum())
    assert torch.equal(weight, torch.ones(2))
    wrapper.update_params(weight.sum())
    assert torch.equal(weight, torch.zeros(2))
    assert guard.outcome() is False
    assert guard.non_finite() == ['w']
    guard.forget()
    assert guard.outcome() is None


def test_sparse_gradients():
    table = nn.Embedding(5, 2, sparse=True)
    wrapper = OptimWrapper(torch.optim.SGD(table.parameters(), lr=1.0))
    guard = step_guard.StepGuard(wrapper, {}, step_guard.Statistics(table))
    before = table.weight.detach().clone()
    rows = torch.tensor([1, 3, 1])
    wrapper.update_params((table(rows) * torch.tensor([1.0, float('inf')])).sum())
    assert guard.outcome() is False
    assert torch.equal(table.weight, before)
    guard.forget()
    wrapper.update_params(table(rows).sum())
    assert guard.outcome() is True
    assert torch.equal(table.weight, before - torch.tensor([0, 2, 0, 1, 0.0])[:, None])


class Waits(TorchDispatchMode):
    """Notes where the host asks a tensor for its number."""

    waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.waits += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('behind', [True, False])
def test_a_step_on_a_gpu_waits_for_nothing(monkeypatch, behind):
    monkeypatch.setattr(step_guard, '_runs_behind', lambda tensor: behind)
    net = Net().first
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    guard = step_guard.StepGuard(OptimWrapper(optimizer), {}, step_guard.Statistics(net))
    loss = net(torch.randn(2, 3, 8, 8)).mean()
    with Waits() as watch:
        guard.wrapper.update_params(loss)
    assert bool(watch.waits) is not behind


def test_the_old_name_and_its_patience(tmp_path):
    hook = NonFiniteLossHook(patience=1)
    runner = run(tmp_path / 'own', 'forward', hooks=[hook])
    assert [h for h in runner.hooks if isinstance(h, FiniteHook)] == [hook]
    runner.train()
    assert same(but_rates(runner.seen.states[1]), but_rates(runner.seen.states[2]))
    named = run(tmp_path / 'named', hooks=[dict(type='mmattn.NonFiniteLossHook')])
    assert sum(isinstance(hook, FiniteHook) for hook in named.hooks) == 1
    with pytest.raises(InvalidValue, match='patience=-1'):
        NonFiniteLossHook(-1)


def test_going_back_leaves_the_batch_out(tmp_path):
    rollback = dict(on_non_finite='rollback')
    runner = run(tmp_path / 'back', 'forward', survival=rollback)
    runner.train()
    assert runner.seen.iterations == [0, 1, 1, 2, 3, 4, 5, 5, 6, 7]
    # A run that has passed over these iterations from its beginning is the same, and so is one
    # that is resumed after it has gone back.
    known = run(tmp_path / 'known', 'forward', survival=rollback)
    record = runner.message_hub.get_info('rollbacks')
    assert [entry['iterations'] for entry in record] == [[1], [5]]
    assert [entry['files'] for entry in record] == [[f'{i}.png' for i in (4, 5, 6, 7)]] * 2
    known.message_hub.update_info('rollbacks', record)
    known.train()
    assert known.seen.iterations == [*range(8)]
    assert same(state(known), state(runner))
    resumed = run(
        tmp_path / 'resumed',
        'forward',
        survival=rollback,
        load_from=str(tmp_path / 'back/iter_4.pth'),
        resume=True,
    )
    resumed.train()
    assert resumed.seen.iterations == [4, 5, 5, 6, 7]
    assert same(state(resumed), state(runner))
    assert len(resumed.message_hub.get_info('rollbacks')) == 2


def test_a_run_goes_back_so_often_and_no_more(tmp_path):
    runner = run(tmp_path, 'forward', survival=dict(on_non_finite='rollback', max_rollbacks=1))
    message = stopped(runner)
    assert 'in iteration 6, epoch 2' in message
    assert 'The run had gone back once before. ' in message
    assert runner.seen.iterations == [0, 1, 1, 2, 3, 4, 5]


def test_before_the_first_checkpoint_the_run_goes_on_from_where_it_is(tmp_path):
    checkpoint = dict(type='CheckpointHook', interval=4, by_epoch=False)
    runner = run(
        tmp_path,
        'backward',
        survival=dict(on_non_finite='rollback'),
        default_hooks=dict(checkpoint=checkpoint),
    )
    runner.train()
    assert runner.seen.iterations == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    assert same(but_rates(runner.seen.states[1]), but_rates(runner.seen.states[2]))


def test_the_checkpoints_of_another_run_are_not_gone_back_to(tmp_path):
    run(tmp_path).train()
    runner = run(
        tmp_path,
        'forward',
        survival=dict(on_non_finite='rollback'),
        load_from=str(tmp_path / 'iter_1.pth'),
        resume=True,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=100)),
    )
    (tmp_path / 'iter_4.pth').touch()
    runner.train()
    assert runner.seen.iterations == [1, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_accumulation_averaging_and_iterations_go_back_too(tmp_path, by_epoch):
    ends = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=8)
    runner = run(
        tmp_path,
        'forward',
        survival=dict(on_non_finite='rollback'),
        hooks=[dict(type='EMAHook')],
        train_cfg=ends,
        optim_wrapper=dict(accumulative_counts=2, optimizer=dict(type='AdamW', lr=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
    )
    runner.train()
    # The second checkpoint back is that of the middle of the gradients' sum, before which
    # nothing of it had been applied.
    assert runner.seen.iterations[:5] == [0, 1, 1, 2, 3]
    # What the first half of the sum has left is not added to the next one.
    assert runner.seen.with_gradients == [1, 1, 3, 5, 5, 7]
    assert [e['iterations'] for e in runner.message_hub.get_info('rollbacks')] == [[0, 1], [4, 5]]
    (ema,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    for weights in (runner.model.state_dict(), ema.ema_model.state_dict()):
        assert all(value.isfinite().all() for value in weights.values())


def test_no_checkpoint_is_written_of_weights_that_exploded(project):
    # The rate explodes in the first step of the second epoch.
    with open('tiny.py', 'a') as file:
        file.write("param_scheduler = dict(type='MultiStepLR', milestones=[1], gamma=1e39)")
    with pytest.raises(UserError, match=r'non-finite loss \(.*\) in iteration 4') as error:
        train('tiny.py', seed=0, cfg_options=['train_cfg.max_epochs=4'])
    assert error.value.exit_code == 1
    (path,) = (project / 'work_dirs' / 'tiny').glob('epoch_*.pth')
    weights = torch.load(path, map_location='cpu', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


def test_weights_that_the_last_step_ruined_are_not_saved(project, monkeypatch):
    def ruin(hook, runner, **_):
        if runner.iter == 3:  # the last of the second epoch; its loss was fine
            next(runner.model.parameters()).data[0] = float('nan')

    monkeypatch.setattr(RecordHook, 'after_train_iter', ruin)
    with pytest.raises(UserError, match='non-finite weights in iteration 4, epoch 2'):
        train('tiny.py', seed=0)
    assert [path.name for path in (project / 'work_dirs' / 'tiny').glob('epoch_*')] == [
        'epoch_1.pth'
    ]


@pytest.fixture
def spoilt(project, monkeypatch):
    """A project, one of whose training images is not finite when it is read."""
    from mmcv.transforms import LoadImageFromFile

    load = LoadImageFromFile.transform

    def spoil(self, results):
        results = load(self, results)
        if results['img_path'].endswith('train/b/2.png'):
            results['img'] = results['img'] * np.float32('inf')
        return results

    monkeypatch.setattr(LoadImageFromFile, 'transform', spoil)
    return project


def test_a_command_stops_with_the_file(spoilt):
    with pytest.raises(UserError, match=r'It began in the batch itself \(inputs\)') as error:
        train('tiny.py', seed=0)
    assert re.search(r'Batch: \S*train/b/2\.png\. ', str(error.value))


def test_the_summary_names_what_was_passed_over(spoilt):
    summary = train('tiny.py', seed=0, survival=dict(on_non_finite='rollback'))
    written = json.loads((spoilt / 'work_dirs/tiny/summary.json').read_text())
    assert written['rollbacks'] == summary.rollbacks
    assert len(summary.rollbacks) == 2  # one in each epoch
    for entry in summary.rollbacks:
        (file,) = entry['files']
        assert file.endswith('train/b/2.png')
        assert 'non-finite loss' in entry['reason']


def train_on_rank(rank, folder, how, survival, accumulate):
    """A process of a run in which only the second one meets the bad sample."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    where = f'file://{folder}/meeting'
    torch.distributed.init_process_group('gloo', init_method=where, rank=rank, world_size=2)
    runner = run(
        folder / 'work',
        how,
        survival=survival,
        batch_size=2,
        launcher='pytorch',
        model_wrapper_cfg=dict(device_ids=None, broadcast_buffers=False),
        optim_wrapper=dict(
            accumulative_counts=accumulate, optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
        ),
    )
    message = ''
    try:
        runner.train()
    except UserError as error:
        message = str(error)
    before = runner.seen.states[0 if accumulate == 2 else 1]
    result = dict(
        message=message,
        iterations=runner.seen.iterations,
        same=same(but_rates(state(runner)), but_rates(before)),
        model=runner.model.module.state_dict(),
        rollbacks=runner.message_hub.runtime_info.get('rollbacks'),
    )
    torch.save(result, folder / f'result_{rank}')
    torch.distributed.barrier()
    os._exit(0)


def on_two_ranks(folder, how, survival=None, accumulate=1):
    fork = multiprocessing.get_context('fork')
    arguments = (folder, how, survival, accumulate)
    processes = [fork.Process(target=train_on_rank, args=(rank, *arguments)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0, 0]
    return [torch.load(folder / f'result_{rank}', weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize('how', ['forward', 'backward'])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_what_one_rank_meets_stops_all_alike(tmp_path, how, accumulate):
    first, second = on_two_ranks(tmp_path, how, accumulate=accumulate)
    assert first['message'] == second['message']
    assert 'in iteration 2, epoch 1' in first['message']
    began = 'spoil' if how == 'forward' else 'the backward pass, .*'
    assert re.search(rf'It began in {began}, on rank 1\. Batch: 5.png, 7.png\. ', first['message'])
    assert first['same'] and second['same']
    assert first['iterations'] == second['iterations'] == [0, 1]


def test_all_ranks_go_back_together(tmp_path):
    first, second = on_two_ranks(tmp_path, 'forward', dict(on_non_finite='rollback'))
    assert first['iterations'] == second['iterations'] == [0, 1, 1, 2, 3, 4, 5, 5, 6, 7]
    assert first['rollbacks'] == second['rollbacks']
    assert [entry['files'] for entry in first['rollbacks']] == [['5.png', '7.png']] * 2
    weights = [name for name in first['model'] if name.endswith(('weight', 'bias'))]
    assert all(torch.equal(first['model'][name], second['model'][name]) for name in weights)
    assert all(value.isfinite().all() for value in second['model'].values())
