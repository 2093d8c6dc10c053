"""A published checkpoint holds the weights and what the model needs, under a name with its hash."""

import hashlib

import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmattn.utils.checkpoints import read_checkpoint, unwrap
from mmattn.utils.errors import UserError
from mmattn.weights.publish import publish


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(100, 100)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(2, 100)).sum().backward()
    optimizer.step()
    path = tmp_path / 'epoch_12.pth'
    meta = dict(
        epoch=12,
        seed=3,
        time='20260101_000000',
        cfg='model = dict()',
        dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)]),
        hook_msgs={'last_ckpt': 'somewhere'},
        record=HistoryBuffer([1.0], [1]),
    )
    torch.save(
        dict(
            state_dict=model.state_dict(),
            meta=meta,
            optimizer=optimizer.state_dict(),
            param_schedulers=[dict(last_step=3)],
            message_hub={'loss': HistoryBuffer([1.0], [1])},
            ema_state_dict={'steps': torch.tensor(3)},
        ),
        path,
    )
    return path


def test_what_is_kept_and_what_is_not(trained, tmp_path):
    done = publish(trained, tmp_path / 'model.pth')
    loaded = torch.load(done.path, weights_only=True)
    before = torch.load(trained, weights_only=False)
    assert set(loaded) == {'state_dict', 'meta'}
    assert all(torch.equal(v, before['state_dict'][k]) for k, v in loaded['state_dict'].items())
    assert loaded['meta'] == dict(
        epoch=12,
        cfg='model = dict()',
        dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)]),
    )
    for name in ('optimizer', 'message_hub', 'ema_state_dict', 'meta.hook_msgs', 'meta.record'):
        assert name in done.removed
    assert done.before == trained.stat().st_size > done.after == done.path.stat().st_size


def test_the_name_is_the_hash_of_the_file(trained, tmp_path):
    done = publish(trained, tmp_path / 'model.pth')
    digest = hashlib.sha256(done.path.read_bytes()).hexdigest()[:8]
    assert done.path.name == f'model-{digest}.pth'
    # The same weights have the same name, and a hash is replaced, not added to.
    again = publish(trained, tmp_path / 'other' / f'model-{"0" * 8}.pth')
    assert again.path.name == done.path.name
    with pytest.raises(UserError, match='exists already'):
        publish(trained, tmp_path / 'model.pth')
    assert publish(trained, tmp_path / 'model.pth', force=True).path == done.path


def test_safetensors_hold_the_same(trained, tmp_path):
    done = publish(trained, tmp_path / 'model.safetensors')
    digest = hashlib.sha256(done.path.read_bytes()).hexdigest()[:8]
    assert done.path.name == f'model-{digest}.safetensors'
    found = unwrap(read_checkpoint(done.path), done.path)
    pth = torch.load(publish(trained, tmp_path / 'model.pth').path, weights_only=True)
    assert found.tensors.keys() == pth['state_dict'].keys()
    assert all(torch.equal(v, pth['state_dict'][k]) for k, v in found.tensors.items())
    # JSON has lists only.
    assert found.meta == dict(
        epoch=12, cfg='model = dict()', dataset_meta=dict(classes=['a', 'b'], palette=[[1, 2, 3]])
    )
    # The same weights have the same name, a checkpoint that is published again too.
    for name in ('model', 'model-00000000.pth', 'model.safetensors'):
        again = publish(done.path, tmp_path / 'again' / name, True, 'safetensors')
        assert again.path.name == done.path.name
    # channels_last, which the format has not, keeps its values.
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    torch.save(dict(w=weight), tmp_path / 'raw.pth')
    path = publish(tmp_path / 'raw.pth', tmp_path / 'raw.safetensors').path
    assert torch.equal(unwrap(read_checkpoint(path), path).tensors['w'], weight)


def test_a_view_is_saved_without_what_it_views(tmp_path):
    path = tmp_path / 'raw.pth'
    torch.save({'w': torch.randn(1000, 1000)[0]}, path)
    done = publish(path, tmp_path / 'small.pth')
    assert done.before > 4_000_000 and done.after < 20_000


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save([1, 2], path)
    with pytest.raises(UserError, match='holds a list'):
        publish(path, tmp_path / 'y.pth')
    torch.save({'epoch': 3}, path)
    with pytest.raises(UserError, match='holds no weights'):
        publish(path, tmp_path / 'y.pth')


def test_the_command_prints_the_sizes(trained, tmp_path, tool, monkeypatch, capsys):
    assert tool('publish', trained, tmp_path / 'model.pth', monkeypatch=monkeypatch) == 0
    out = capsys.readouterr().out
    assert 'MiB before' in out and 'MiB after' in out and 'left out: optimizer' in out
    assert tool('publish', trained, tmp_path / 'model.pth', monkeypatch=monkeypatch) == 2
    assert 'exists already' in capsys.readouterr().err
    words = ('publish', trained, tmp_path / 'model.pth', '--format', 'safetensors')
    assert tool(*words, monkeypatch=monkeypatch) == 0
    assert '.safetensors' in capsys.readouterr().out
