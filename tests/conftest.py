"""Fixtures for every test."""

import functools
import gc
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

# A classifier on sixteen generated images: the smallest real run of the engine.
TINY_CONFIG = """
default_scope = 'mmpretrain'
data_root = 'data/tiny'
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3, num_classes=2),
    backbone=dict(type='mmattn.ResNet', depth=18, num_stages=2, out_indices=(1,),
                  strides=(2, 2), dilations=(1, 1), attention=dict(type='SE')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=128, topk=(1,),
              loss=dict(type='CrossEntropyLoss')),
)
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train',
                 pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
)
val_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='val',
                 pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
visualizer = dict(type='UniversalVisualizer')
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1),
                     logger=dict(type='LoggerHook', interval=1))
"""

PROJECT = Path(__file__).resolve().parents[1]

# More threads than cores make small convolutions slower, and tests often run
# beside something else.
os.environ.setdefault('OMP_NUM_THREADS', '2')
if 'PYTEST_XDIST_WORKER' in os.environ:
    # On small tensors two processes do twice the work of two threads.
    os.environ['OMP_NUM_THREADS'] = '1'


@pytest.fixture(scope='session', autouse=True)
def parse_metafiles_once():
    """Every `mmdet::` base makes mmengine parse all metafiles of the toolbox: seconds each."""
    from mmengine.config import utils

    load, utils.load = utils.load, functools.lru_cache(None)(utils.load)
    yield
    utils.load = load


@pytest.fixture(scope='session', autouse=True)
def leave_configs_unformatted():
    """A Runner lays out its config several times, with yapf: seconds each."""
    from yapf.yapflib import yapf_api

    lay_out = yapf_api.FormatCode

    def format_code(text, style_config, **options):
        # Ours are laid out by another style.
        if style_config.get('based_on_style') == 'pep8':
            return text, True
        return lay_out(text, style_config=style_config, **options)

    yapf_api.FormatCode = format_code
    yield
    yapf_api.FormatCode = lay_out


@pytest.fixture(scope='module', autouse=True)
def spare_the_garbage_collector():
    """Data sets collect garbage when they are built: slow among all that was imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session')
def project_root() -> Path:
    """The folder that holds tests/, configs/ and tools/."""
    return PROJECT


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """The data sets and golden values beside the project, read-only; skips without them."""
    shared = PROJECT.parent / 'shared'
    if not shared.is_dir():
        pytest.skip('needs the data beside the project, ../shared, which is not here')
    return shared


@pytest.fixture(autouse=True)
def no_global_instances():
    """No default scope, visualizer, logger or message hub of a Runner in another test.

    Cleared, not put back: a Runner in a fixture of a whole module runs before this one.
    """
    from mmengine.utils import ManagerMixin

    def clear(cls=ManagerMixin):
        for subclass in cls.__subclasses__():
            subclass._instance_dict.clear()
            clear(subclass)

    clear()
    yield
    clear()


def write_tiny_data(root: Path) -> None:
    """Write eight training and eight validation images: class 'a' dark, class 'b' bright."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for level, name in ((60, 'a'), (190, 'b')):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                image = rng.integers(level - 40, level + 40, (32, 32, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / f'{number}.png'), image)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with tiny.py and data/tiny, which is the working directory."""
    write_tiny_data(tmp_path / 'data' / 'tiny')
    (tmp_path / 'tiny.py').write_text(TINY_CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path
