"""Checkpoints of any age are read without running their code, and written whole."""

import json
import os
import pickle
import zipfile

import pytest
import torch

from mmattn.utils.checkpoints import (
    Foreign,
    plain,
    read_checkpoint,
    to_bytes,
    unwrap,
)
from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole


class Options:
    """Stands for what training scripts put beside the weights."""

    def __init__(self):
        self.lr = 0.1


class Attack:
    """Its pickle names a function to be called."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {'conv.weight': torch.randn(2, 3, 1, 1), 'bn.num_batches_tracked': torch.tensor(7)}


def equal(actual, expected):
    return list(actual) == list(expected) and all(
        torch.equal(value, expected[key]) for key, value in actual.items()
    )


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: {'state_dict': w, 'epoch': 3, 'args': Options(), 'best': torch.tensor(1.0)},
        lambda w: {'model': {f'module.{k}': v for k, v in w.items()}, 'optimizer': {'lr': [0.1]}},
        lambda w: {'model_state': {f'module._orig_mod.{k}': v for k, v in w.items()}},
        lambda w: {k: torch.nn.Parameter(v, requires_grad=False) for k, v in w.items()},
    ],
)
def test_weights_are_found_in_old_and_new_files(tmp_path, weights, wrap, legacy):
    path = tmp_path / 'model.pth.tar'
    torch.save(wrap(weights), path, _use_new_zipfile_serialization=not legacy)
    found = unwrap(read_checkpoint(path), path)
    assert equal(found.tensors, weights)
    assert not any(value.requires_grad for value in found.tensors.values())


def test_notes_say_what_was_unwrapped(tmp_path, weights):
    data = {'state_dict': {**{f'module.{k}': v for k, v in weights.items()}}, 'meta': {'a': 1}}
    found = unwrap(data, 'x')
    assert found.meta == {'a': 1}
    assert any("'state_dict'" in note for note in found.notes)
    assert any("'module.'" in note for note in found.notes)
    assert any('odd' in note for note in unwrap({**weights, 'odd': 3}, 'x').notes)


@pytest.mark.parametrize('legacy', [False, True])
def test_no_code_in_a_file_runs(tmp_path, weights, legacy):
    path = tmp_path / 'evil.pth'
    made = tmp_path / 'made'
    torch.save(
        {'state_dict': weights, 'x': Attack(made)},
        path,
        _use_new_zipfile_serialization=not legacy,
    )
    data = read_checkpoint(path)
    assert isinstance(data['x'], Foreign) and equal(unwrap(data, path).tensors, weights)
    assert not made.exists()


def test_a_checkpoint_of_mmengine_is_read(tmp_path, weights):
    from mmengine.logging import HistoryBuffer

    path = tmp_path / 'epoch_1.pth'
    hub = {'log_scalars': {'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])}}
    torch.save({'meta': {'epoch': 1}, 'state_dict': weights, 'message_hub': hub}, path)
    data = read_checkpoint(path)
    assert equal(unwrap(data, path).tensors, weights)
    assert plain(data['message_hub']) == {'log_scalars': {}}


def test_safetensors(tmp_path):
    path = tmp_path / 'model.safetensors'
    values = {
        'w': torch.randn(2, 3),
        'half': torch.randn(4).bfloat16(),
        'count': torch.tensor(7),
        'none': torch.zeros(0, 3),
    }
    names = {torch.float32: 'F32', torch.bfloat16: 'BF16', torch.int64: 'I64'}
    header, data = {'__metadata__': {'format': 'pt'}}, b''
    for key, value in values.items():
        raw = bytes(value.contiguous().view(-1).view(torch.uint8).tolist())
        offsets = [len(data), len(data) + len(raw)]
        shape = list(value.shape)
        header[key] = dict(dtype=names[value.dtype], shape=shape, data_offsets=offsets)
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data)
    assert equal(unwrap(read_checkpoint(path), path).tensors, values)
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data[:10])
    with pytest.raises(UserError, match='damaged safetensors file'):
        read_checkpoint(path)


def npz(path):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('image.txt', 'x' * 100)


def truncated(path):
    torch.save({'a': torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (lambda p: p.write_bytes(b'\n<!DOCTYPE html><html>'), 'web page.*download went wrong'),
        (lambda p: p.write_bytes(b'version https://git-lfs.github.com/spec/v1'), 'git lfs pull'),
        (lambda p: p.write_bytes(b'\x1f\x8b\x08 gzip'), 'gzip-compressed; unpack'),
        (lambda p: p.write_bytes(b''), 'no PyTorch checkpoint.*it is empty'),
        (lambda p: p.write_bytes(b'some text that is no archive at all'), 'no PyTorch checkpoint'),
        (lambda p: p.write_bytes(pickle.dumps({'a': 1})), 'no PyTorch checkpoint'),
        (npz, 'no PyTorch checkpoint'),
        (truncated, 'or a damaged one'),
        (lambda p: None, 'does not exist'),
        (lambda p: p.mkdir(), 'is a folder'),
    ],
)
def test_files_that_are_no_checkpoints_are_named(tmp_path, write, message):
    path = tmp_path / 'model.pth'
    write(path)
    with pytest.raises(UserError, match=message) as error:
        read_checkpoint(path)
    assert 'model.pth' in str(error.value)


def test_a_url_is_not_downloaded():
    with pytest.raises(UserError, match='is a URL; download it first'):
        read_checkpoint('https://example.org/model.pth')


def test_contents_that_are_no_weights_are_named(tmp_path):
    path = tmp_path / 'model.pth'
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), path)
    with pytest.raises(UserError, match=r'whole pickled model.*container.Sequential.*state_dict'):
        unwrap(read_checkpoint(path), path)
    torch.save({'epoch': 3, 'lr': 0.1}, path)
    with pytest.raises(UserError, match=r"none of its 2 keys .'epoch', 'lr'. has a tensor"):
        unwrap(read_checkpoint(path), path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(UserError, match='holds a list instead of a state_dict'):
        unwrap(read_checkpoint(path), path)


@pytest.mark.filterwarnings('ignore')
def test_a_torchscript_program_is_named(tmp_path):
    path = tmp_path / 'model.pt'
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match='TorchScript program'):
        unwrap(read_checkpoint(path), path)


def test_writing_is_all_or_nothing(tmp_path, weights, monkeypatch):
    path = tmp_path / 'new' / 'model.pth'
    content = to_bytes({'state_dict': weights})
    write_whole(path, content)
    assert equal(torch.load(path)['state_dict'], weights)
    assert oct(path.stat().st_mode)[-3:] == oct(0o666 & ~_umask())[-3:]

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(UserError, match='model.pth cannot be written: disk full'):
        write_whole(path, b'other')
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_nothing_is_overwritten_without_force(tmp_path):
    path = tmp_path / 'model.pth'
    refuse_existing(path, force=False)
    path.write_text('x')
    with pytest.raises(UserError, match='model.pth exists already; --force'):
        refuse_existing(path, force=False)
    refuse_existing(path, force=True)
    with pytest.raises(UserError, match='is a folder'):
        refuse_existing(tmp_path, force=True)
