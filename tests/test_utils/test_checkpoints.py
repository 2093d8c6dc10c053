"""Checkpoints of any age are read without running their code, and written whole."""

import os
import pickle
import zipfile

import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from mmattn.utils import loading  # noqa: F401  (what mmengine loads with)
from mmattn.utils.checkpoints import (
    broken,
    check_checkpoint,
    read_checkpoint,
    to_bytes,
    to_safetensors,
    unwrap,
)
from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole


class Options:
    """Stands for what training scripts put beside the weights."""

    def __init__(self):
        self.lr = 0.1


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {'conv.weight': torch.randn(2, 3, 1, 1), 'bn.num_batches_tracked': torch.tensor(7)}


def equal(actual, expected):
    return list(actual) == list(expected) and all(
        torch.equal(value, expected[key]) for key, value in actual.items()
    )


def same(actual, expected):
    """In whatever order."""
    return equal(dict(sorted(actual.items())), dict(sorted(expected.items())))


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


def test_a_checkpoint_of_mmengine_is_read(tmp_path, weights):
    from mmengine.logging import HistoryBuffer

    path = tmp_path / 'epoch_1.pth'
    hub = {'log_scalars': {'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])}}
    torch.save({'meta': {'epoch': 1}, 'state_dict': weights, 'message_hub': hub}, path)
    data = read_checkpoint(path)
    assert equal(unwrap(data, path).tensors, weights)
    assert data['message_hub']['log_scalars']['train/loss'].mean() == 1.5


def test_safetensors(tmp_path):
    """As the library's other users write them, and as we do, with meta."""
    values = {
        'w': torch.randn(2, 3).t(),
        'half': torch.randn(4).bfloat16(),
        'count': torch.tensor(7),
        'none': torch.zeros(0, 3),
    }
    path = tmp_path / 'model.safetensors'
    save_file({key: value.contiguous() for key, value in values.items()}, path, {'format': 'pt'})
    found = unwrap(read_checkpoint(path), path)
    assert same(found.tensors, values) and found.meta == {} and broken(path) is None
    meta = dict(dataset_meta=dict(classes=['a', 'ä']), epoch=3, cfg="x = '1'")
    path.write_bytes(to_safetensors(dict(state_dict=values, meta=meta)))
    found = unwrap(read_checkpoint(path), path)
    assert same(found.tensors, values) and found.meta == meta
    # mmengine's load_from and init_cfg.
    assert same(CheckpointLoader.load_checkpoint(str(path))['state_dict'], values)
    with pytest.raises(UserError, match=r'cannot hold.*set is not JSON serializable.*a \.pth can'):
        to_safetensors(dict(state_dict=values, meta=dict(classes={1, 2})))


def test_safetensors_whose_length_looks_like_a_web_page(tmp_path):
    """The file begins with the length of its header: 15392 is b' <' and six zeros."""
    path = tmp_path / 'model.safetensors'
    checkpoint = dict(state_dict={'w': torch.ones(2)}, meta=dict(cfg=''))
    missing = 15392 - int.from_bytes(to_safetensors(checkpoint)[:8], 'little')
    path.write_bytes(to_safetensors(dict(checkpoint, meta=dict(cfg='x' * missing))))
    assert path.read_bytes().startswith(b' <')
    assert broken(path) is None and unwrap(read_checkpoint(path), path).tensors['w'].sum() == 2


@pytest.mark.parametrize(
    'damage',
    [
        lambda raw: raw[:-3],
        lambda raw: raw[:40],
        lambda raw: raw + b'x',
        lambda raw: b'\xff' * 7 + raw[7:],
        lambda raw: raw.replace(b'F32', b'F33'),
        lambda raw: raw.replace(b'[2,3]', b'[9,9]'),
    ],
)
def test_damaged_safetensors_files_are_named(tmp_path, damage):
    path = tmp_path / 'model.safetensors'
    raw = to_safetensors(dict(state_dict={'w': torch.ones(2, 3)}, meta={}))
    path.write_bytes(damage(raw))
    assert path.read_bytes() != raw
    with pytest.raises(UserError, match='model.safetensors is no PyTorch checkpoint, or a damaged'):
        read_checkpoint(path)
    assert 'truncated or not a checkpoint' in broken(path)


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
        (lambda p: p.write_bytes(b'PK\x03\x04'), 'no PyTorch checkpoint'),
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


class Author(torch.nn.Module):
    """TorchScript runs ``__setstate__`` while it loads."""

    def __init__(self, made):
        super().__init__()
        self.made = made
        self.training = False

    @torch.jit.export
    def __getstate__(self):
        return (self.made, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.made = state[0]
        self.training = state[1]
        torch.save(torch.ones(1), self.made)

    def forward(self, x):
        return x


@pytest.mark.filterwarnings('ignore')
def test_no_code_in_a_torchscript_program_runs(tmp_path):
    path, made = tmp_path / 'model.pt', tmp_path / 'made'
    torch.jit.script(Author(str(made))).save(str(path))
    with pytest.raises(UserError, match=r'model\.pt .*TorchScript program.*save model.state_dict'):
        read_checkpoint(path)
    with pytest.raises(UserError, match='cannot be read: it is a TorchScript program'):
        check_checkpoint(str(path), 'load_from')
    assert not made.exists()
    # It would have run.
    torch.jit.load(str(path))
    assert made.exists()


@pytest.mark.parametrize(
    ('data', 'taken', 'note'),
    [
        (('state_dict', 'state_dict_ema'), 0, "'state_dict_ema' and are not taken"),
        (('model', 'model_ema'), 0, "'model_ema' and are not taken"),
        (('model', 'ema_model'), 0, "'ema_model' and are not taken"),
        (('state_dict', 'ema_state_dict'), 0, "(EMA) are under 'ema_state_dict'"),
        (('model_ema',), 0, "the weights are under 'model_ema'"),
    ],
)
def test_averaged_weights_are_not_passed_over_in_silence(weights, data, taken, note):
    data = {name: {'w': torch.tensor(float(index))} for index, name in enumerate(data)}
    found = unwrap(data, 'x')
    assert found.tensors['w'] == taken and any(note in text for text in found.notes)
    # Not everything with these letters is an average, nor is every average a state_dict.
    quiet = unwrap({'state_dict': weights, 'schema': {}, 'ema': 0.9}, 'x').notes
    assert not any('EMA' in text for text in quiet)


def test_the_averaged_weights_of_mmengine_are_told_from_the_trained(tmp_path):
    """Saved by its own hook, which puts the average under 'state_dict'."""
    from mmengine.hooks import EMAHook
    from mmengine.model import ExponentialMovingAverage

    model = torch.nn.Linear(1, 1, bias=False)
    hook = EMAHook()
    hook.src_model, hook.ema_model = model, ExponentialMovingAverage(model)
    torch.nn.init.constant_(model.weight, 5)
    torch.nn.init.constant_(hook.ema_model.module.weight, 3)
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(mmengine_version='0.10'))
    hook.before_save_checkpoint(None, checkpoint)
    found = unwrap(checkpoint, 'x')
    assert found.tensors['weight'] == 3 and 'trained' in found.notes[1]
    assert "'state_dict' holds the averaged weights" in found.notes[1]
    assert checkpoint['ema_state_dict']['module.weight'] == 5


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
