"""Choosing a checkpoint to continue from."""

import os

import pytest
import torch

from mmattn.engine import find_resumable
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
