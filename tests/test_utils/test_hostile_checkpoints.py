"""Files made to harm, and damaged ones: nothing runs, nothing crashes, one line says why."""

import importlib
import pickle
import random
import resource
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

import mmattn
from mmattn.utils import loading
from mmattn.utils.checkpoints import broken, read_checkpoint, trusting, unwrap
from mmattn.utils.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
import damaged
import hostile

sys.path.pop(0)

GROUPS = ('zip', 'legacy', 'lies', 'archives', 'types', 'safetensors', 'truncated')
# Read by those who want weights only, and do not look at the rest.
HARMLESS = {'weights that are a tensor', 'meta that is a list', 'an epoch in words'}
HARMLESS |= {'an iteration before the first'}
# These work, without harm to this process, where a pickle is simply loaded.
WORKING = ('os.system', 'posix.system', 'os.mkdir', 'open', 'io.open', 'py2 open', 'eval', 'exec')
WORKING += ('py2 eval', 'subprocess.run', 'import, getattr', 'importlib', 'INST', 'OBJ')
WORKING += ('operator.attrgetter', 'map, list', 'STACK_GLOBAL', 'pickle.loads')


def kinds(group, canary):
    if group in ('zip', 'legacy'):
        wrap = dict(zip=hostile.archive, legacy=hostile.legacy)[group]
        return {n: wrap(hostile.entry(p)) for n, p in hostile.exploits(str(canary)).items()}
    return dict(
        lies=hostile.lies,
        archives=lambda: damaged.archives(str(canary)),
        types=damaged.wrong_types,
        safetensors=damaged.safetensors,
        truncated=lambda: damaged.truncated(12),
    )[group]()


def refusal(read, path):
    """What is wrong with how a file is refused; None if nothing is."""
    try:
        return f'it was read: {read(str(path))!r:.80}'
    except UserError as error:
        text = str(error)
        sound = text.isprintable() and path.name in text and len(text) < 400 + len(str(path)) * 2
        return None if sound else f'said was {text!r}'
    except Exception as error:
        return f'{type(error).__name__}: {error}'


@pytest.mark.parametrize('group', GROUPS)
def test_every_kind_is_refused_in_one_line(tmp_path, group):
    path, canary = tmp_path / 'model.pth', tmp_path / 'canary'
    readers = {
        'load_from': lambda name: CheckpointLoader.load_checkpoint(name, logger='silent'),
        'the converters': lambda name: unwrap(read_checkpoint(name), name),
    }
    wrong = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in kinds(group, canary).items():
        path.write_bytes(content)
        for reader, read in readers.items():
            what = refusal(read, path)
            if what and not (name in HARMLESS and reader == 'the converters'):
                wrong[name, reader] = what
            if canary.exists():
                wrong[name, reader] = 'it has run'
                canary.unlink()
        said = broken(path)
        if said is not None and not said.isprintable():
            wrong[name, 'broken'] = said
        assert list(tmp_path.iterdir()) == [path]
    assert wrong == {}
    # Kilobytes; declared were up to a petabyte.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000


def test_there_are_many_kinds():
    assert len(damaged.everything('canary')) >= 150


@pytest.mark.parametrize('name', WORKING)
def test_what_is_refused_would_have_run(tmp_path, name):
    canary = tmp_path / 'canary'
    program = pickle.PROTO + b'\x02' + hostile.exploits(str(canary))[name] + pickle.STOP
    pickle.loads(program)
    assert canary.exists()


def test_nothing_of_the_process_is_changed(tmp_path):
    """Neither a function's defaults nor a class's methods can be set from a file."""
    rebuild, storage = torch._utils._rebuild_tensor_v2, torch.storage.UntypedStorage
    before = rebuild.__defaults__, storage.nbytes, dict(vars(HistoryBuffer))
    for name, content in kinds('zip', tmp_path / 'canary').items():
        if 'function' in name or 'class' in name:
            (tmp_path / 'model.pth').write_bytes(content)
            assert refusal(loading.load, tmp_path / 'model.pth') is None
    assert (rebuild.__defaults__, storage.nbytes, dict(vars(HistoryBuffer))) == before


@pytest.mark.parametrize('legacy', [False, True])
def test_flipped_bits_are_noticed_or_harmless(tmp_path, legacy):
    """Of an archive every bit that matters; before there were no checksums."""
    path = tmp_path / 'model.pth'
    made = damaged.legacy_checkpoint() if legacy else hostile.saved(damaged.checkpoint())
    path.write_bytes(made)
    sound = loading.load(path)
    numbers = random.Random(0)
    refused = 0
    for _ in range(150):
        raw = bytearray(made)
        raw[numbers.randrange(len(raw))] ^= 1 << numbers.randrange(8)
        path.write_bytes(raw)
        try:
            read = loading.load(path)
        except UserError as error:
            assert str(error).isprintable()
            refused += 1
        else:
            assert legacy or same(read, sound)
    assert refused > (20 if legacy else 75)


@pytest.mark.parametrize('options', [{}, {'_use_new_zipfile_serialization': False}])
@pytest.mark.parametrize('protocol', [2, 4])
def test_what_torch_and_mmengine_save_is_read_as_torch_reads_it(tmp_path, options, protocol):
    path = tmp_path / 'model.pth'
    data = everything_sound()
    torch.save(data, path, pickle_protocol=protocol, **options)
    read = loading.load(path, 'cpu')
    assert same(read, torch.load(path, weights_only=False))
    weights = read['state_dict']
    assert weights['tied'].data_ptr() == weights['conv.weight'].data_ptr()
    assert weights._metadata == data['state_dict']._metadata
    assert read['message_hub']['loss'].mean(2) == data['message_hub']['loss'].mean(2)
    assert read['message_hub']['loss'].statistics('max') == 3


def everything_sound():
    """Of all kinds that are in checkpoints."""
    data = damaged.checkpoint()
    weights = data['state_dict']
    weights['tied'] = weights['conv.weight']
    weights['view'] = weights['conv.weight'].t()[1:]
    weights['parameter'] = torch.nn.Parameter(torch.randn(2))
    weights['expanded'] = torch.ones(1).expand(50)
    for kind in (torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.complex64):
        weights[str(kind)] = torch.ones(3, 2).to(kind)
    weights['none'], weights['scalar'] = torch.zeros(0, 3), torch.tensor(7)
    data['message_hub'] = dict(loss=HistoryBuffer([1.0, 2.0, 3.0], [1, 2, 1]))
    data['param_schedulers'] = [dict(milestones=Counter([8, 11]), base_values=[0.1])]
    data['meta'] |= dict(
        cfg=ConfigDict(a=ConfigDict(b=[1]), c=ConfigDict()),
        names=defaultdict(list, a=[1]),
        arrays=[np.arange(6).reshape(2, 3), np.arange(3.0).astype('>f8'), np.array(['a', 'bc'])],
        numbers=[np.float32(1.5), np.int64(7), np.bool_(True), 2**80, -1, 1.5, 1j, True, None],
        random=(np.random.RandomState(0).get_state(), random.Random(0).getstate()),
        sets=[{1, 2}, frozenset('ab'), set(), b'', b'\xff', bytearray(b'x'), range(3), slice(1)],
        types=[torch.float32, torch.Size([1, 2]), torch.device('cpu')],
        shared=[[1]] * 3,
    )
    return data


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        form = (one.dtype, one.stride(), one.requires_grad)
        equal = form == (other.dtype, other.stride(), other.requires_grad)
        return equal and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, HistoryBuffer):
        return same(one.data, other.data) and one.max_length == other.max_length
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other


def test_a_program_of_another_protocol(tmp_path):
    """Of Python 2, with a dict and a list of text."""
    path = tmp_path / 'model.pth'
    path.write_bytes(hostile.archive(b"(dp0\nS'w'\np1\n(lp2\nI3\naF0.5\naI01\nas."))
    assert loading.load(path) == {'w': [3, 0.5, True]}


@pytest.mark.parametrize('location', [None, 'cpu', 'meta', torch.device('cpu'), {'cpu': 'meta'}])
@pytest.mark.parametrize('legacy', [False, True])
def test_where_tensors_go(tmp_path, location, legacy):
    path = tmp_path / 'model.pth'
    torch.save(hostile.WEIGHTS, path, _use_new_zipfile_serialization=not legacy)
    expected = 'meta' if location in ('meta', {'cpu': 'meta'}) else 'cpu'
    assert loading.load(path, location)['conv.weight'].device.type == expected


@pytest.fixture
def evil(tmp_path):
    """A checkpoint that is one, and makes a folder when it is unpickled."""
    path, canary = tmp_path / 'evil.pth', tmp_path / 'canary'
    harm = hostile.Asks(Path.mkdir, canary)
    torch.save({'state_dict': dict(hostile.WEIGHTS), 'x': harm}, path)
    return path


def test_names_of_models_and_urls(evil, monkeypatch):
    """What mmengine fetches is read in the same way."""
    fetched = evil.parent / 'hub' / 'checkpoints' / 'resnet.pth'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(fetched.parents[1]))
    monkeypatch.setattr(
        torch.hub,
        'download_url_to_file',
        lambda url, path, **_: Path(path).write_bytes(evil.read_bytes()),
    )
    urls = {'resnet50': 'https://example.org/resnet.pth', 'local': str(evil)}
    for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: urls)
    backend = type('Backend', (), {'get': lambda self, name: evil.read_bytes()})
    monkeypatch.setattr(mmengine_checkpoint, 'get_file_backend', lambda *_, **__: backend())
    names = ['https://example.org/resnet.pth', 'torchvision://resnet50', 'mmcls://resnet50']
    names += ['open-mmlab://resnet50', 'openmmlab://local', 's3://bucket/resnet.pth', str(evil)]
    for name in names:
        with pytest.raises(UserError, match=r'asks for pathlib\.'):
            CheckpointLoader.load_checkpoint(name, logger='silent')
    assert fetched.exists() and not (evil.parent / 'canary').exists()
    # What is sound comes through.
    torch.save({'state_dict': {'backbone.w': torch.ones(1)}}, fetched)
    for name in names[:4]:
        assert 'state_dict' in CheckpointLoader.load_checkpoint(name, 'cpu', logger='silent')


def test_trust_is_for_the_block_only(evil):
    canary = evil.parent / 'canary'
    with trusting(False), pytest.raises(UserError, match='--trust-checkpoint'):
        loading.load(evil)
    with trusting():
        with trusting(False):
            assert 'state_dict' in CheckpointLoader.load_checkpoint(str(evil), logger='silent')
        assert canary.exists()
        canary.rmdir()
        assert 'state_dict' in read_checkpoint(evil)
    assert canary.exists()
    canary.rmdir()
    with pytest.raises(UserError, match=r'asks for pathlib\.'):
        loading.load(evil)
    assert not canary.exists()
    # It is whole.
    assert broken(evil) is None


def test_torch_itself_stays_as_it_is(evil):
    torch.load(evil, weights_only=False)
    assert (evil.parent / 'canary').exists()
    assert torch.load is not loading.load and torch.hub.load_state_dict_from_url is not None


def test_a_config_in_a_checkpoint_is_not_run(tmp_path, capsys):
    """mmengine runs that under mmcv's name when it resumes."""
    path = tmp_path / 'old.pth'
    meta = dict(config='import os', cfg='model = dict()', epoch=1)
    torch.save(dict(state_dict=hostile.WEIGHTS, meta=meta), path)
    assert loading.load(path)['meta'] == dict(cfg='model = dict()', epoch=1)
    assert read_checkpoint(path)['meta']['config'] == 'import os'


def test_mmattn_is_imported_after_mmengine(monkeypatch):
    monkeypatch.setattr(mmengine_checkpoint, 'torch', torch)
    monkeypatch.setattr(mmengine_checkpoint, 'load_url', None)
    monkeypatch.delitem(sys.modules, 'mmattn.utils.loading')
    monkeypatch.delattr('mmattn.utils.loading')
    importlib.reload(mmattn)
    assert mmengine_checkpoint.torch.load is not torch.load
    assert mmengine_checkpoint.torch.float32 is torch.float32
    assert mmengine_checkpoint.load_url is not None


def test_mmengine_is_imported_after_mmattn(project_root):
    """The first member of mmattn that is asked for sees to it."""
    lines = (
        'import sys, mmattn; assert "torch" not in sys.modules',
        'from mmengine.runner import checkpoint; import torch',
        'mmattn.registry.MODELS.get("SE")',
        'assert checkpoint.torch.load is not torch.load',
        'assert torch.load.__module__ == "torch.serialization"',
    )
    words = [sys.executable, '-c', '\n'.join(lines)]
    done = subprocess.run(words, cwd=project_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
