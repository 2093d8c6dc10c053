"""Choosing a checkpoint to continue from."""

import os
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import find_resumable, resume
from mmattn.engine.resume import choose_checkpoint, how_to_continue
from mmattn.utils.checkpoints import check_checkpoint, read_checkpoint
from mmattn.utils.errors import UserError


def write(path, epoch, iteration, saved='20260101_000000', size=1000, legacy=False, **more):
    """A checkpoint as mmengine writes it; parts that are None are left out."""
    content = dict(
        meta=dict(epoch=epoch, iter=iteration, time=saved, cfg='interval=1'),
        state_dict={'weight': torch.full((size,), float(iteration))},
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
        optimizer=dict(state={0: dict(momentum_buffer=torch.zeros(size))}, param_groups=[]),
        param_schedulers=[],
    )
    content = {name: part for name, part in {**content, **more}.items() if part is not None}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


@pytest.fixture
def work_dir(tmp_path):
    """A work dir with epochs 2, 9 and 10 of ten iterations; last_checkpoint names the tenth."""
    for epoch in (2, 9, 10):
        write(tmp_path / f'epoch_{epoch}.pth', epoch, 10 * epoch, f'202601{epoch:02}_000000')
    write(tmp_path / 'best_mIoU_epoch_99.pth', 99, 990, '20270101_000000')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    return tmp_path


def found(work_dir, shapes=None):
    """Name of what is resumed, and the notes as one text."""
    path, notes = find_resumable(str(work_dir), shapes)
    return path and os.path.relpath(path, work_dir), ' '.join(notes)


def test_last_checkpoint(work_dir):
    assert find_resumable(str(work_dir)) == (str(work_dir / 'epoch_10.pth'), [])


def test_moved_work_dir(work_dir, tmp_path_factory):
    moved = tmp_path_factory.mktemp('moved') / 'run'
    os.rename(work_dir, moved)
    assert find_resumable(str(moved)) == (str(moved / 'epoch_10.pth'), [])


def test_checkpoints_in_a_folder_of_their_own(work_dir, tmp_path_factory):
    away = tmp_path_factory.mktemp('away') / work_dir.name
    away.mkdir()
    for path in work_dir.glob('epoch_*'):
        path.rename(away / path.name)
    assert found(work_dir)[0] is None
    (work_dir / 'last_checkpoint').write_text(str(away / 'epoch_10.pth'))
    assert find_resumable(str(work_dir)) == (str(away / 'epoch_10.pth'), [])


def test_names_of_a_template(work_dir):
    for path in work_dir.glob('epoch_*'):
        path.rename(work_dir / f'at_{path.stem[6:]}_.pth')
    (work_dir / 'last_checkpoint').write_text('at_10_.pth')
    assert found(work_dir) == ('at_10_.pth', '')
    (work_dir / 'at_10_.pth').write_bytes(b'')
    assert found(work_dir)[0] == 'at_9_.pth'


@pytest.mark.parametrize('text', ['', '\0', 'ä\n', '../../etc/passwd', '/', 'x' * 5000, 'epoch_11'])
def test_whatever_last_checkpoint_says_the_newest_counts(work_dir, text):
    (work_dir / 'last_checkpoint').write_text(text)
    assert found(work_dir)[0] == 'epoch_10.pth'
    (work_dir / 'last_checkpoint').write_bytes(text.encode()[:3] + b'\xff\xfe')
    assert found(work_dir)[0] == 'epoch_10.pth'
    (work_dir / 'last_checkpoint').unlink()
    assert found(work_dir) == ('epoch_10.pth', '')


def test_deleted_file_falls_back(work_dir):
    (work_dir / 'epoch_10.pth').unlink()
    assert found(work_dir) == ('epoch_9.pth', 'epoch_10.pth is passed over: it does not exist.')


def test_a_run_that_died_before_it_could_point_to_its_last_checkpoint(work_dir):
    write(work_dir / 'iter_104.pth', 10, 104, '20260110_000000')
    assert found(work_dir) == ('iter_104.pth', '')
    write(work_dir / 'epoch_11.pth', 11, 110, '20260111_000000')
    assert found(work_dir) == ('epoch_11.pth', '')


def test_a_checkpoint_between_epochs_is_older_than_the_next_epoch(work_dir):
    write(work_dir / 'iter_95.pth', 9, 95, '20260109_120000')
    (work_dir / 'last_checkpoint').unlink()
    assert found(work_dir) == ('epoch_10.pth', '')
    (work_dir / 'epoch_10.pth').write_bytes(b'')
    assert found(work_dir)[0] == 'iter_95.pth'


def test_a_run_that_was_taken_back_goes_on_from_there(work_dir):
    write(work_dir / 'epoch_3.pth', 3, 30, '20260201_000000')
    (work_dir / 'last_checkpoint').write_text('epoch_3.pth')
    assert found(work_dir) == (
        'epoch_3.pth',
        'epoch_10.pth is there too, but was saved before epoch_3.pth.',
    )


def test_a_clock_that_goes_back_loses_nothing(work_dir):
    write(work_dir / 'epoch_11.pth', 11, 110, '20250101_000000')
    (work_dir / 'last_checkpoint').write_text('epoch_11.pth')
    assert found(work_dir) == ('epoch_11.pth', '')


@pytest.mark.parametrize('left', [0, 1, *range(100, 9000, 700), -1])
def test_truncated_file_falls_back(work_dir, left):
    """Of about 10 kB are left: nothing, one byte, a part, all but one."""
    newest = work_dir / 'epoch_10.pth'
    newest.write_bytes(newest.read_bytes()[:left])
    name, notes = found(work_dir)
    assert name == 'epoch_9.pth' and notes.startswith('epoch_10.pth is passed over: it ')


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('place', range(40))
def test_a_flipped_bit_falls_back_or_does_no_harm(work_dir, place, legacy):
    newest = work_dir / 'epoch_10.pth'
    write(newest, 10, 100, '20260110_000000', legacy=legacy)
    content, good = bytearray(newest.read_bytes()), torch.load(newest, weights_only=False)
    content[len(content) * place // 40] ^= 1 << place % 8
    newest.write_bytes(content)
    name, notes = found(work_dir)
    if name == 'epoch_9.pth':
        assert 'epoch_10.pth is passed over: it ' in notes
    elif not legacy:  # torch before 1.6 wrote no checksums
        read = read_checkpoint(newest)
        for part in ('state_dict', 'meta', 'message_hub', 'param_schedulers'):
            assert str(read[part]) == str(good[part])
        assert torch.equal(read['state_dict']['weight'], good['state_dict']['weight'])


SWAPPED = dict(
    best=(dict(optimizer=None), 'no state of the optimizer'),
    weights=(dict(meta=None, message_hub=None, optimizer=None), 'no message_hub, meta, epoch'),
    without_iterations=(dict(meta=dict(epoch=10)), 'no iter in it'),
    list=(dict(state_dict=[torch.zeros(1)]), 'no state_dict in it'),
)


@pytest.mark.parametrize(('parts', 'reason'), SWAPPED.values(), ids=SWAPPED)
def test_what_no_training_wrote_is_passed_over(work_dir, parts, reason):
    write(work_dir / 'epoch_10.pth', 10, 100, **parts)
    name, notes = found(work_dir)
    assert name == 'epoch_9.pth' and reason in notes


@pytest.mark.parametrize('content', [b'text', b'PK\x03\x04', b'<html>', b'\x80\x02', b'\0' * 9999])
def test_what_is_no_checkpoint_is_passed_over(work_dir, content):
    (work_dir / 'epoch_10.pth').write_bytes(content)
    name, notes = found(work_dir)
    assert name == 'epoch_9.pth' and notes.startswith('epoch_10.pth is passed over: it ')


def test_a_folder_of_that_name_is_passed_over(work_dir):
    (work_dir / 'epoch_10.pth').unlink()
    (work_dir / 'epoch_10.pth').mkdir()
    assert found(work_dir)[0] == 'epoch_9.pth'


def test_a_run_that_saves_no_optimizer_is_resumed_without(work_dir):
    for epoch in (9, 10):
        meta = dict(epoch=epoch, iter=epoch * 10, time='x', cfg='save_optimizer=False')
        write(work_dir / f'epoch_{epoch}.pth', 0, 0, optimizer=None, meta=meta)
    assert found(work_dir) == ('epoch_10.pth', '')


def test_another_models_checkpoint_is_passed_over(work_dir):
    write(work_dir / 'epoch_10.pth', 10, 100, size=999)
    name, notes = found(work_dir, {'weight': (1000,)})
    assert name == 'epoch_9.pth'
    assert 'weight is (999,) instead of (1000,)' in notes
    with pytest.raises(
        UserError, match='no checkpoint in .* fits the model.*epoch_9.pth.*--resume'
    ):
        find_resumable(str(work_dir), {'weight': (7,)})


def test_a_file_is_read_once_until_it_changes(work_dir, monkeypatch):
    reads = []
    read = resume.read_stream
    monkeypatch.setattr(
        resume, 'read_stream', lambda *a, **o: (reads.append(a[1]), read(*a, **o))[1]
    )
    for _ in range(3):
        assert found(work_dir) == ('epoch_10.pth', '')
    assert reads == [str(work_dir / 'epoch_10.pth')]
    write(work_dir / 'epoch_10.pth', 10, 101)
    assert found(work_dir) == ('epoch_10.pth', '') and len(reads) == 2


def test_it_is_said_what_takes_long(work_dir, monkeypatch, capsys):
    monkeypatch.setattr(resume, 'SILENT', 0)
    monkeypatch.setattr(resume, 'read_stream', lambda *args, **options: time.sleep(0.1))
    found(work_dir)
    assert 'reading epoch_10.pth (0.0 GB) to check it ...' in capsys.readouterr().out


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
    assert (cfg.resume, cfg.load_from) == ('auto', last)
    other = str(work_dir / 'epoch_2.pth')
    choose_checkpoint(cfg, other)
    assert (cfg.resume, cfg.load_from) == (True, other)
    cfg = Config(dict(work_dir=str(tmp_path_factory.mktemp('empty')), load_from=other))
    assert 'starts anew' in choose_checkpoint(cfg, 'auto')[0]
    assert (cfg.resume, cfg.load_from) == (False, other)
    cfg.load_from = 'nowhere.pth'
    with pytest.raises(UserError, match="load_from 'nowhere.pth' does not exist"):
        choose_checkpoint(cfg, None)


def test_a_named_checkpoint_is_looked_at_before_any_work(work_dir):
    cfg = Config(dict(work_dir=str(work_dir)))
    named = str(work_dir / 'best.pth')
    write(named, 10, 100, optimizer=None)
    assert 'its momentum starts anew' in choose_checkpoint(cfg, named)[0]
    for parts, reason in [(dict(message_hub=None), 'no message_hub'), (None, 'it is empty')]:
        if parts:
            write(named, 10, 100, **parts)
        else:
            Path(named).write_bytes(b'')
        with pytest.raises(UserError, match=f'cannot be continued from: .*{reason}'):
            choose_checkpoint(cfg, named)
    with pytest.raises(UserError, match='does not exist'):
        choose_checkpoint(cfg, str(work_dir / 'nowhere.pth'))


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
def test_the_advice_after_a_signal_continues_the_last_checkpoint(work_dir, words, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['tools/train.py', *words.split()])
    runner = SimpleNamespace(work_dir=str(work_dir), distributed=False)
    assert how_to_continue(runner, 'stopped here') == (
        'stopped here. To continue from epoch_10.pth: tools/train.py c.py --amp --resume'
    )
    runner.distributed = True
    assert how_to_continue(runner, '').endswith('the same command with --resume')


def test_the_advice_keeps_the_options_of_the_config(work_dir, monkeypatch):
    words = 'tools/train.py c.py --cfg-options a.b=1 c="[1, 2]" --resume x.pth --seed 3'
    monkeypatch.setattr(sys, 'argv', shlex.split(words))
    runner = SimpleNamespace(work_dir=str(work_dir), distributed=False)
    expected = "tools/train.py c.py --cfg-options a.b=1 'c=[1, 2]' --seed 3 --resume"
    assert how_to_continue(runner, '').endswith(expected)
