"""2N iterations end with the same bits as N, a kill, and N more."""

import copy
import io
import itertools
import json
import multiprocessing
import os
import shutil
import socket
import traceback
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner as EngineRunner

from mmattn.engine.distributed import init_distributed
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.runner import Runner

CONFIGS = Path(__file__).parent / 'exact_resume_configs'
# What the clock, the folder or the checkout has made of the history and the meta.
NOT_COMPARED = {
    'best_ckpt',
    'cfg',
    'data_time',
    'experiment_name',
    'last_ckpt',
    'memory',
    'mmengine_version',
    'passing_ckpt',
    'time',
}
NUMBERS = itertools.count()


class Killed(BaseException):
    pass


class Kill(Hook):
    """Ends the process at the begin of an iteration, or what stands for it in a test."""

    priority = 'HIGHEST'

    def __init__(self, iteration, end=None):
        self.iteration, self.end = iteration, end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            if self.end is not None:
                self.end(9)
            raise Killed


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A folder with data/: twelve images, upright and across, as the three toolboxes read them."""
    root = tmp_path_factory.mktemp('runs')
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for folder in ('classes/a', 'classes/b', 'images', 'labels'):
        (root / 'data' / folder).mkdir(parents=True)
    for number in range(12):
        name, size = f'{number}.png', (64, 48) if number % 3 else (48, 64)
        x, y = 4 + number, 3 + number
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        image[y : y + 24, x : x + 24] = number * 20
        labels = np.zeros(size, np.uint8)
        labels[y : y + 24, x : x + 24] = 1
        folder = f'classes/{"ab"[number % 2]}'
        for where, what in {folder: image, 'images': image, 'labels': labels}.items():
            cv2.imwrite(str(root / 'data' / where / name), what)
        images.append(dict(id=number, file_name=name, height=size[0], width=size[1]))
        box = dict(image_id=number, category_id=1 + number % 2, bbox=[x, y, 24, 24])
        boxes.append(dict(box, id=number + 1, area=576, iscrowd=0))
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    annotations = dict(images=images, annotations=boxes, categories=categories)
    (root / 'data' / 'coco.json').write_text(json.dumps(annotations))
    return root


@pytest.fixture(autouse=True)
def beside_the_data(root, monkeypatch):
    monkeypatch.chdir(root)


def config(task, by_epoch=True, workers=0, **changes):
    """Of twelve iterations: two epochs, or without epochs; with a seed unless told otherwise."""
    pytest.importorskip({'classifier': 'mmpretrain', 'segmenter': 'mmseg'}.get(task, 'mmdet'))
    cfg = Config.fromfile(CONFIGS / f'{task}.py')
    cfg.randomness = dict(seed=3)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=workers, persistent_workers=workers > 0)
    if not by_epoch:
        cfg.train_dataloader.sampler.type = 'InfiniteSampler'
        cfg.train_cfg = dict(by_epoch=False, max_iters=12, val_interval=3)
        cfg.default_hooks.checkpoint.update(by_epoch=False, interval=6)
        cfg.param_scheduler[1].update(by_epoch=False, milestones=[7])
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg, work_dir, kill_at=None, resume=False, kind=Runner, end=None):
    """Train a config, to its end or until it is killed; the runner."""
    cfg = copy.deepcopy(cfg)
    # Runs that start in the same second would share their history.
    changes = dict(work_dir=str(work_dir), resume=resume, experiment_name=str(next(NUMBERS)))
    cfg.merge_from_dict(changes)
    runner = kind.from_cfg(cfg)
    if kill_at is None:
        runner.train()
    else:
        runner.register_hook(Kill(kill_at, end))
        with pytest.raises(Killed):
            runner.train()
    return runner


def last(work_dir):
    """The last checkpoint of a work dir, read as one that is not trusted."""
    path = (work_dir / 'last_checkpoint').read_text()
    return torch.load(path, map_location='cpu', weights_only=True)


def differing(one, other, path=''):
    """Paths of what is not the same, bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {key for key in (*one, *other) if str(key).rpartition('/')[2] not in NOT_COMPARED}
        pairs = {key: (one.get(key), other.get(key)) for key in sorted(keys, key=str)}
        return [each for key in pairs for each in differing(*pairs[key], f'{path}.{key}')]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        pairs = dict(enumerate(zip(one, other, strict=False)))
        found = [each for key in pairs for each in differing(*pairs[key], f'{path}.{key}')]
        return found if len(one) == len(other) else [path, *found]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    return [] if type(one) is type(other) and one == other else [path]


def assert_same_end(cfg, folder, kill_at, again=None, iterations=12):
    """Compare a run without a break with one that is killed and resumed (by another config)."""
    train(cfg, folder / 'whole')
    killed = train(cfg, folder / 'broken', kill_at)
    assert killed.iter == kill_at
    resumed = train(again or cfg, folder / 'broken', resume=True)
    assert resumed.iter == iterations
    assert differing(last(folder / 'whole'), last(folder / 'broken')) == []


CASES = [
    (task, by_epoch, workers, kill_at)
    for task in ('classifier', 'detector', 'segmenter')
    for by_epoch in (True, False)
    for workers in (0, 2)
    for kill_at in (5, 7)  # after iter_4.pth, and after the checkpoint of six iterations
]
FAST = {('classifier', True, 0, 5), ('classifier', False, 0, 7)}


@pytest.mark.parametrize(
    ('task', 'by_epoch', 'workers', 'kill_at'),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_a_killed_run_ends_as_one_without_a_break(task, by_epoch, workers, kill_at, tmp_path):
    assert_same_end(config(task, by_epoch, workers), tmp_path, kill_at)


@pytest.mark.slow
@pytest.mark.parametrize('kill_at', [5, 9])
def test_mosaics_and_a_pipeline_that_is_switched(kill_at, tmp_path):
    cfg = config('mosaics', workers=1)
    assert_same_end(cfg, tmp_path, kill_at)


@pytest.mark.slow
def test_another_number_of_workers_makes_no_difference(tmp_path):
    assert_same_end(config('classifier'), tmp_path, 5, again=config('classifier', workers=2))


@pytest.mark.slow
@pytest.mark.parametrize('kill_at', [5, 8])
def test_gradients_that_are_not_applied_yet(kill_at, tmp_path):
    cfg = config('classifier', **{'optim_wrapper.accumulative_counts': 5})
    assert_same_end(cfg, tmp_path, kill_at)


@pytest.mark.slow
def test_a_validation_that_decides_on_the_next_step_is_made_up_for(tmp_path):
    cfg = config('classifier', **{'train_cfg.max_epochs': 3})
    metric = 'accuracy/top1'
    cfg.param_scheduler = [
        dict(type='ReduceOnPlateauLR', monitor=metric, rule='greater', patience=0, threshold=200.0)
    ]
    cfg.custom_hooks = [dict(type='EarlyStoppingHook', monitor=metric, patience=5)]
    # The second epoch's validation is lost with the run; epoch_2.pth is from before it.
    assert_same_end(cfg, tmp_path, 12, iterations=18)
    rates = last(tmp_path / 'broken')['message_hub']['log_scalars']['train/lr']['history'][0]
    assert len(set(rates.tolist())) == 2


@pytest.mark.parametrize('own_seed', [True, False])
def test_a_seed_made_by_chance_stays(own_seed, tmp_path):
    cfg = config('classifier')
    # mmengine's sampler draws its own seed with it.
    cfg.randomness = dict(seed=None, diff_rank_seed=own_seed)
    killed = train(cfg, tmp_path / 'broken', 5)
    resumed = train(cfg, tmp_path / 'broken', resume=True)
    assert resumed.seed == killed.seed
    cfg.randomness.seed = killed.seed
    train(cfg, tmp_path / 'whole')
    assert differing(last(tmp_path / 'whole'), last(tmp_path / 'broken')) == []


def test_what_is_skipped_is_not_read_and_the_states_are_small(tmp_path, monkeypatch):
    from mmpretrain.datasets import CustomDataset

    read, prepare = [], CustomDataset.prepare_data
    monkeypatch.setattr(
        CustomDataset, 'prepare_data', lambda self, index: read.append(1) or prepare(self, index)
    )
    cfg = config('classifier')
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    train(cfg, tmp_path, 5)
    read.clear()
    train(cfg, tmp_path, resume=True)
    assert len(read) == 2 * (12 - 4)
    file = io.BytesIO()
    torch.save(last(tmp_path)['exact_resume'], file)
    assert file.tell() < 40_000


@pytest.fixture
def warnings(monkeypatch):
    """What is logged as a warning."""
    found = []
    monkeypatch.setattr(
        MMLogger, 'warning', lambda self, message, *args, **kwargs: found.append(message)
    )
    return found


def test_a_checkpoint_of_mmengine_is_resumed_with_one_warning(tmp_path, warnings):
    cfg = config('classifier')
    train(cfg, tmp_path, 7, kind=EngineRunner)
    warnings.clear()
    runner = train(cfg, tmp_path, resume=True)
    assert runner.iter == 12
    (said,) = (text for text in warnings if 'random states' in text)
    assert 'epoch_1.pth holds neither' in said


def in_two_processes(rank, port, cfg, work_dir, kill_at, resume):
    """One of two processes; the second one kills itself."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    status = 1
    try:
        init_distributed(cfg, 'pytorch')
        adapt_to_machine(cfg)
        train(cfg, work_dir, kill_at if rank == 1 else None, resume, end=os._exit)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def start_two(*args):
    """Train in two processes; their exit statuses."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context('fork')
    both = [fork.Process(target=in_two_processes, args=(rank, port, *args)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(300)
    return [process.exitcode for process in both]


@pytest.mark.slow
@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('task', ['classifier', 'detector', 'segmenter'])
def test_one_of_two_processes_is_killed(task, by_epoch, tmp_path, warnings):
    cfg = config(task, by_epoch, **{'train_dataloader.batch_size': 1})
    assert start_two(cfg, tmp_path / 'whole', None, False) == [0, 0]
    assert start_two(cfg, tmp_path / 'broken', 5, False)[1] == 9
    if task == 'classifier':
        shutil.copytree(tmp_path / 'broken', tmp_path / 'alone')
        alone = train(cfg, tmp_path / 'alone', 6, resume=True)
        assert any('1 processes instead of 2' in text for text in warnings)
        assert alone.iter == 6
    assert start_two(cfg, tmp_path / 'broken', None, True) == [0, 0]
    one, two = last(tmp_path / 'whole'), last(tmp_path / 'broken')
    assert differing(one, two) == []
    assert len(one['exact_resume']['ranks']) == 2
    # Of BatchNorm: what a process has seen.
    assert one['exact_resume']['ranks'][1]['buffers']
