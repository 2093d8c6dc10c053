"""Logs on a full disk: said once, counted, no end of a run, no half line."""

import json
import logging

import numpy as np
import pytest
from mmengine.config import Config

from mmattn.engine.survival.logs import WholeLines

from .conftest import LIMIT, full_disk, toy


@pytest.fixture
def backend(tmp_path):
    return WholeLines(str(tmp_path / 'vis_data'))


def test_lines_are_whole_and_missing_ones_are_counted(backend, tmp_path, capfd):
    path = tmp_path / 'vis_data' / 'scalars.json'
    long = dict(loss=1.0, text='x' * (LIMIT // 3))
    with full_disk():
        for step in range(5):
            backend.add_scalars(long, step)
    backend.add_scalars(long, 5)
    assert [json.loads(line)['step'] for line in path.read_text().splitlines()] == [0, 1, 5]
    said = capfd.readouterr().err.splitlines()
    assert said == [
        f'{path} cannot be written: File too large; training goes on without.',
        f'{path} is written again; 3 entries are missing in it.',
    ]


def test_pictures_are_whole_or_absent(backend, tmp_path, capfd):
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with full_disk():
        backend.add_image('x', image)
    assert not list(tmp_path.rglob('*.png')) and not list(tmp_path.rglob('*.part'))
    assert 'cannot be written' in capfd.readouterr().err
    backend.add_image('x', image)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['x_0.png']


def test_a_log_file_that_cannot_be_written_says_so_once(work_dir, capfd):
    runner = toy(work_dir)
    assert [type(each) for each in runner.visualizer._vis_backends.values()] == [WholeLines]
    to_file = [each for each in runner.logger.handlers if isinstance(each, logging.FileHandler)]
    runner.logger.handlers = to_file  # what captures the console is a file too
    with full_disk():
        for _ in range(4):
            runner.logger.info('x' * LIMIT)
    said = capfd.readouterr()
    assert to_file and said.err.count('cannot be written: File too large') == 1
    assert 'Traceback' not in said.err + said.out


def test_the_config_is_kept_whole(work_dir):
    toy(work_dir, epochs=1, cfg=Config(dict(a=1))).train()
    assert [path.name for path in work_dir.glob('*.py')]
    assert [path.name for path in work_dir.rglob('config.py')] == ['config.py']
    assert not list(work_dir.rglob('*.part'))
