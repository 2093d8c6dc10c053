"""Choosing a checkpoint to continue from."""

import os
import shlex
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import find_resumable
from mmattn.engine.resume import choose_checkpoint, how_to_continue
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import UserError


@pytest.fixture
def work_dir(tmp_path):
    """A work dir with epochs 2, 9 and 10; last_checkpoint names the tenth."""
    for epoch in (2, 9, 10):
        torch.save({'weight': torch.full((1000,), float(epoch))}, tmp_path / f'epoch_{epoch}.pth')
    torch.save({'weight': torch.zeros(1)}, tmp_path / 'best_mIoU_epoch_99.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    return tmp_path


def test_last_checkpoint(work_dir):
    assert find_resumable(str(work_dir)) == (str(work_dir / 'epoch_10.pth'), [])


def test_moved_work_dir(work_dir, tmp_path_factory):
    moved = tmp_path_factory.mktemp('moved') / 'run'
    os.rename(work_dir, moved)
    assert find_resumable(str(moved)) == (str(moved / 'epoch_10.pth'), [])


def test_without_pointer_the_highest_number_counts(work_dir):
    (work_dir / 'last_checkpoint').unlink()
    assert find_resumable(str(work_dir))[0].endswith('epoch_10.pth')


def test_deleted_file_falls_back(work_dir):
    (work_dir / 'epoch_10.pth').unlink()
    path, notes = find_resumable(str(work_dir))
    assert path.endswith('epoch_9.pth')
    assert 'epoch_10.pth' in notes[0]


@pytest.mark.parametrize('size', [0, 100, 3000])
def test_truncated_file_falls_back(work_dir, size):
    newest = work_dir / 'epoch_10.pth'
    newest.write_bytes(newest.read_bytes()[:size])
    path, notes = find_resumable(str(work_dir))
    assert path.endswith('epoch_9.pth')
    assert 'epoch_10.pth cannot be read' in notes[0]


def test_damaged_file_falls_back(work_dir):
    newest = work_dir / 'epoch_10.pth'
    data = bytearray(newest.read_bytes())
    data[1500] ^= 255
    newest.write_bytes(data)
    assert find_resumable(str(work_dir))[0].endswith('epoch_9.pth')


def test_nothing_there(tmp_path):
    assert find_resumable(str(tmp_path)) == (None, [])
    assert find_resumable(str(tmp_path / 'nowhere')) == (None, [])


def test_named_checkpoint_must_exist_and_be_whole(work_dir):
    check_checkpoint(str(work_dir / 'epoch_9.pth'), '--resume')
    with pytest.raises(UserError, match='does not exist.*epoch_9.pth'):
        check_checkpoint(str(work_dir / 'epoch_8.pth'), '--resume')
    (work_dir / 'epoch_2.pth').write_bytes(b'not a checkpoint')
    with pytest.raises(UserError, match='cannot be read'):
        check_checkpoint(str(work_dir / 'epoch_2.pth'), 'load_from')


def test_what_a_run_starts_from(work_dir, tmp_path_factory):
    cfg = Config(dict(work_dir=str(work_dir)))
    assert choose_checkpoint(cfg, None) == []
    assert 'resume' not in cfg
    last = str(work_dir / 'epoch_10.pth')
    assert choose_checkpoint(cfg, 'auto') == [f'continues from {last}.']
    assert (cfg.resume, cfg.load_from) == (True, last)
    other = str(work_dir / 'epoch_2.pth')
    choose_checkpoint(cfg, other)
    assert (cfg.resume, cfg.load_from) == (True, other)
    cfg = Config(dict(work_dir=str(tmp_path_factory.mktemp('empty')), load_from=other))
    assert 'starts anew' in choose_checkpoint(cfg, 'auto')[0]
    assert (cfg.resume, cfg.load_from) == (False, other)
    cfg.load_from = 'nowhere.pth'
    with pytest.raises(UserError, match="load_from 'nowhere.pth' does not exist"):
        choose_checkpoint(cfg, None)


@pytest.mark.parametrize(
    'words',
    [
        'c.py --amp --resume',
        'c.py --amp --resume old/epoch_1.pth',
        '--resume old/epoch_1.pth c.py --amp',
        '--resume=old/epoch_1.pth c.py --amp',
        '--resume c.pth c.py --amp',
        'c.py --amp',
    ],
)
def test_the_advice_after_ctrl_c_continues_the_last_checkpoint(work_dir, words, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', *words.split()])
    runner = SimpleNamespace(work_dir=str(work_dir), distributed=False, iter=3, max_iters=9)
    assert how_to_continue(runner) == (
        'stopped by Ctrl-C at iteration 3 of 9. To continue from epoch_10.pth: '
        'tools/train.py c.py --amp --resume'
    )
    runner.distributed = True
    assert how_to_continue(runner).endswith('the same command with --resume')


def test_the_advice_keeps_the_options_of_the_config(work_dir, monkeypatch):
    words = 'tools/train.py c.py --cfg-options a.b=1 c="[1, 2]" --resume x.pth --seed 3'
    monkeypatch.setattr(sys, 'argv', shlex.split(words))
    runner = SimpleNamespace(work_dir=str(work_dir), distributed=False, iter=3, max_iters=9)
    expected = "tools/train.py c.py --cfg-options a.b=1 'c=[1, 2]' --seed 3 --resume"
    assert how_to_continue(runner).endswith(expected)
