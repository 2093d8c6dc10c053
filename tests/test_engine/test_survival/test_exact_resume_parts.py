"""The pieces of exact resume: random states, the order of data, plain states, save-every."""

import pickle
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import CheckpointHook, EarlyStoppingHook
from mmengine.logging import HistoryBuffer
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmattn.engine.survival import Survival, save_every
from mmattn.engine.survival.data_order import keeps_images, order, samplers
from mmattn.engine.survival.exact_resume import _history, plain
from mmattn.engine.survival.random_state import (
    RandomStream,
    kept_random_state,
    random_state,
    seed_from,
    set_random_state,
)
from mmattn.engine.survival.save_every import SaveEveryHook
from mmattn.utils.errors import InvalidArgument, InvalidValue


def draw():
    return random.random(), random.gauss(0, 1), np.random.rand(), torch.rand(1).item()


def test_random_states_come_back_and_load_as_plain_data(tmp_path):
    draw()
    state = random_state()
    expected = draw()
    torch.save(state, tmp_path / 'state.pth')
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert draw() == expected


def test_streams_are_their_own():
    seed_from(1, 'a')
    with kept_random_state():
        expected = draw(), draw()
    one, other = RandomStream(2), RandomStream(3)
    with one:
        first = draw()
    with other:
        draw()
    with one:
        second = draw()
    assert (draw(), draw()) == expected
    seed_from(2)
    assert (draw(), draw()) == (first, second)


class Noisy(Dataset):
    """Samples of random numbers; counts what is read."""

    def __init__(self, size=10):
        self.size, self.read = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.read.append(index)
        return index, *draw()


def batches(workers=0, begin=0, epoch=0, **options):
    loader = DataLoader(Noisy(), 3, num_workers=workers, collate_fn=list, **options)
    batch_sampler = order(loader, seed=5, rank=0)
    batch_sampler.epoch, batch_sampler.begin = epoch, begin
    return loader, list(loader)


@pytest.mark.parametrize('shuffle', [True, False])
def test_batches_follow_from_their_place(shuffle):
    seed_from('the outer one')
    before = random_state()
    loader, whole = batches(shuffle=shuffle)
    # torch draws the workers' seed, which nothing uses, when it begins.
    assert random_state()['python'] == before['python']
    assert len(whole) == len(loader) == 4
    draw()
    late, rest = batches(shuffle=shuffle, begin=2)
    assert rest == whole[2:]
    assert len(late.dataset.read) == 4
    other = batches(shuffle=shuffle, epoch=1)[1]
    assert other[0] != whole[0]
    if shuffle:
        assert [s[0] for b in other for s in b] != [s[0] for b in whole for s in b]


def test_workers_make_no_difference():
    assert batches(workers=2, shuffle=True)[1] == batches(shuffle=True)[1]
    again = batches(workers=1, begin=3, shuffle=True, multiprocessing_context='fork')[1]
    assert again == batches(shuffle=True)[1][3:]


def test_a_data_set_goes_to_workers_that_are_spawned():
    loader, expected = batches()
    copy = pickle.loads(pickle.dumps(loader.dataset))
    (first, *_) = iter(loader.batch_sampler)
    assert copy.__getitems__(pickle.loads(pickle.dumps(first))) == expected[0]
    assert copy.__getitems__.dataset is copy


def test_infinite_and_half_filled_orders_begin_anew():
    loader = DataLoader(Noisy(), 3, sampler=InfiniteSampler(Noisy(), seed=1), collate_fn=list)
    batch_sampler = order(loader, 5, 0)
    batch_sampler.inner.pair_buckets = [[1], []]

    def first(number, begin=0):
        batch_sampler.begin = begin
        numbers = iter(batch_sampler)
        return [list(next(numbers)) for _ in range(number)]

    whole = first(100)
    assert batch_sampler.inner.pair_buckets == [[], []]
    assert first(30, begin=70) == whole[70:]
    assert [type(each).__name__ for each in samplers(batch_sampler)] == [
        'OrderedBatches',
        'BatchSampler',
        'InfiniteSampler',
    ]
    assert (batch_sampler.batch_size, batch_sampler.sampler.seed) == (3, 1)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    'loader', [DataLoader(Stream()), DataLoader(Noisy(), batch_size=None), DataLoader([1, 2])]
)
def test_what_has_no_order_stays_as_it_is(loader):
    before = loader.batch_sampler
    assert order(loader, 1, 0) is None
    assert loader.batch_sampler is before


def test_transforms_that_keep_images_are_named():
    pytest.importorskip('mmdet')
    from mmdet.datasets.transforms import CachedMosaic, Mosaic

    inner = SimpleNamespace(pipeline=SimpleNamespace(transforms=[CachedMosaic(), Mosaic()]))
    outer = SimpleNamespace(dataset=inner, pipeline=[])
    assert keeps_images(SimpleNamespace(datasets=[outer, outer])) == ['CachedMosaic']


def test_a_history_is_plain_in_a_checkpoint_and_the_same_again():
    buffer = HistoryBuffer([0.1, 1 / 3, float('inf')], [1, 2, 3], max_length=7)
    state = dict(a=[(buffer, np.float32(0.5))], b=np.arange(2), c={1})
    made = plain(state)
    assert (made['a'][0][1], made['b'], made['c']) == (0.5, [0, 1], [1])
    again = _history(made['a'][0][0])
    assert [each.tolist() for each in again.data] == [each.tolist() for each in buffer.data]
    assert again.max_length == 7
    assert _history(buffer) is buffer


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('30s', (30.0, 's')),
        ('10min', (600.0, 's')),
        ('1.5h', (5400.0, 's')),
        ('500it', (500, 'it')),
    ],
)
def test_intervals(text, expected):
    assert Survival(save_every=text).interval == expected


@pytest.mark.parametrize('text', ['10', 'min', '0it', '1.5it', '-3s', 600, ''])
def test_intervals_that_are_none(text):
    with pytest.raises(InvalidValue, match='save_every=.*10min.*500it'):
        Survival(save_every=text)


def test_options_are_checked():
    assert Survival.from_cfg(None) == Survival.from_cfg(dict(survival=None)) == Survival()
    with pytest.raises(InvalidArgument, match="'save_evry'.* Did you mean save_every"):
        Survival.from_cfg(dict(survival=dict(save_evry='1s')))
    for name, value in dict(
        on_non_finite='go', bad_data=True, max_rollbacks=-1, max_bad_data=2, trust_checkpoint=1
    ).items():
        with pytest.raises(InvalidValue, match=name):
            Survival(**{name: value})
    with pytest.raises(InvalidValue, match='a dict of options'):
        Survival.from_cfg(dict(survival='10min'))


def saves(monkeypatch, hook, seconds, iterations=12):
    """After which iterations the hook saves, if each takes so long."""
    clock, saved = [0.0], []
    monkeypatch.setattr(save_every.time, 'monotonic', lambda: clock[0])
    monkeypatch.setattr(save_every, 'save_now', lambda runner, meta: save(meta['iter']))
    runner = SimpleNamespace(epoch=0)

    def save(iteration):
        saved.append(iteration)
        hook.before_save_checkpoint(runner, {})

    hook.before_train(runner)
    for runner.iter in range(iterations):
        clock[0] += seconds
        hook.after_train_iter(runner, runner.iter)
    hook.after_train(runner)
    return saved


def test_saving_by_iterations_and_by_the_clock(monkeypatch):
    assert saves(monkeypatch, SaveEveryHook(5, 'it'), seconds=1) == [5, 10]
    assert saves(monkeypatch, SaveEveryHook(5.0, 's'), seconds=2) == [3, 6, 9, 12]


def test_with_several_processes_what_is_heard_late_is_not_done_twice(monkeypatch):
    class Late:
        sent = 0

        def greatest(self, number):
            heard, self.sent = self.sent, number
            return heard

        def close(self):
            pass

    monkeypatch.setattr(save_every, 'Agreement', Late)
    assert saves(monkeypatch, SaveEveryHook(5.0, 's'), seconds=2) == [4, 8, 12]


def test_hooks_that_save_come_after_those_whose_states_they_save(project):
    from mmattn.engine.config import load_config
    from mmattn.engine.runner import Runner

    cfg, _ = load_config('tiny.py', ['work_dir=w', 'survival.save_every=3it'])
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor='accuracy/top1')]
    runner = Runner.from_cfg(cfg)
    kinds = (EarlyStoppingHook, CheckpointHook, SaveEveryHook)
    places = [next(i for i, h in enumerate(runner.hooks) if isinstance(h, kind)) for kind in kinds]
    assert places == sorted(places)
    assert places[0] < runner.hooks.index(runner.exact_resume) < places[1]
    assert isinstance(runner.train_loop.dataloader.sampler, DefaultSampler)


@pytest.mark.parametrize(
    'loop',
    [
        dict(by_epoch=True, max_epochs=1),
        dict(by_epoch=False, max_iters=1),
        dict(type='EpochBasedTrainLoop', max_epochs=1),
        dict(type='mmengine.IterBasedTrainLoop', max_iters=1),
    ],
)
def test_the_loops_of_mmengine_are_exact_ones(loop, project):
    from mmattn.engine.config import load_config
    from mmattn.engine.runner import Runner

    cfg, _ = load_config('tiny.py', ['work_dir=w'])
    cfg.train_cfg = loop
    assert type(Runner.from_cfg(cfg).train_loop).__module__ == 'mmattn.engine.survival.loops'
