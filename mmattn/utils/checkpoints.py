"""Reading checkpoints without running the code in them."""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmattn.utils.errors import UserError

# Keys under which training scripts put the weights; averages only if there is no other.
WRAPPERS = ['state_dict', 'model_state_dict', 'model_state', 'model', 'net', 'network']
WRAPPERS += ['state_dict_ema', 'model_ema']
# Put in front of every key by DataParallel and by torch.compile.
PREFIXES = ('module.', '_orig_mod.')

# What a state_dict needs. A pickle may name any function to be called while it is read.
REBUILD = ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3', '_rebuild_parameter')
SAFE = {
    'collections': ('OrderedDict', 'defaultdict'),
    'torch': ('Size', 'device'),
    'torch.storage': ('UntypedStorage',),
    'torch._utils': REBUILD,
    '_codecs': ('encode',),
    'builtins': ('set', 'frozenset', 'complex', 'bytearray', 'slice', 'range'),
    '__builtin__': ('set', 'frozenset', 'complex', 'bytearray', 'slice', 'xrange'),
}
FIRST_BYTES = {
    b'<': 'is a web page, not a checkpoint; the download went wrong',
    b'version https://git-lfs': 'is a Git LFS pointer; fetch the file itself with git lfs pull',
    b'\x1f\x8b': 'is gzip-compressed; unpack it first',
    b'BZh': 'is bzip2-compressed; unpack it first',
    b'\x89HDF': 'is an HDF5 file (Keras?), not a PyTorch checkpoint',
}
# First bytes of a zip archive, as torch.save and TorchScript write them.
ZIP = b'PK\x03\x04'
SAVE_STATE = 'whose code would have to run; save model.state_dict() with the code it came from'
# Under which safetensors' metadata holds ours. One key only: their order in the file is random.
META = 'mmattn_meta'


class Foreign:
    """Stands for an object of a class that is not needed, and so is not loaded."""

    def _ignore(self, *args: Any, **options: Any) -> None:
        pass

    __init__ = __setstate__ = __setitem__ = append = extend = add = _ignore


class Weights(NamedTuple):
    """The weights in a checkpoint, and what was unwrapped to find them."""

    tensors: dict[str, Tensor]  # without the prefixes of DataParallel and torch.compile
    meta: dict[str, Any]
    notes: list[str]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or name in SAFE.get(module, ()):
            return super().find_class(module, name)
        return type(name, (Foreign,), {'__module__': module})


# What torch.load asks of a pickle module.
_pickle = SimpleNamespace(
    __name__='mmattn',
    Unpickler=_Unpickler,
    load=lambda file, **options: _Unpickler(file, **options).load(),
)


def read_checkpoint(path: str | Path) -> Any:
    """Read a .pth, .pt, .pth.tar, .bin or .safetensors file on the CPU.

    No code of the file's author runs: objects of other classes than tensors and plain
    containers (optimizers, configs, hooks' records) become :class:`Foreign`, and TorchScript
    is refused. A safetensors file is its tensors, in ``state_dict`` if it has a ``meta`` that
    :func:`to_safetensors` wrote.

    Raises:
        UserError: If the file is missing, damaged or no checkpoint.
    """
    if re.match(r'\w\w+:/', str(path)):
        raise UserError(f'{path} is a URL; download it first and give the file.')
    file = require_file(path, 'the checkpoint')
    try:
        return _read(file)
    except UserError as error:
        message = f'{path} is no PyTorch checkpoint, or a damaged one: it {error}.'
        raise UserError(message) from error


def broken(path: Path) -> str | None:
    """Say why a checkpoint file cannot be read ('it is empty'), or None if it can."""
    try:
        _read(path, archives=False)
    except UserError as error:
        return f'it {error}'
    return None


def _read(path: Path, archives: bool = True) -> Any:
    """What is in a file; of an archive, if that is not wanted, only the checksums are read.

    A truncated archive has no directory at its end, a damaged one a wrong checksum; torch reads
    damaged tensors without a word.

    Raises:
        UserError: Saying what "it" is.
    """
    with open(path, 'rb') as file:
        head = file.read(512)
    try:
        if head[8:9] == b'{':
            return _read_safetensors(path)
        for start, what in FIRST_BYTES.items():
            if head.lstrip().startswith(start):
                raise UserError(what)
        if head.startswith(ZIP):
            # The reader of torch.load, which hands TorchScript to torch.jit.load: a crafted
            # archive may look different to zipfile.
            if 'constants.pkl' in torch._C.PyTorchFileReader(str(path)).get_all_records():
                raise UserError(f'is a TorchScript program, {SAVE_STATE}')
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            if bad is not None:
                raise UserError(f'has a damaged part, {bad}')
            if not archives:
                return None
        if not head:
            raise UserError('is empty')
        return torch.load(path, map_location='cpu', pickle_module=_pickle, weights_only=False)
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f'is truncated or not a checkpoint: {_first_line(error)}') from error


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.strip().split('\n')[0].rstrip(': ')


def _read_safetensors(path: Path) -> dict[str, Any]:
    with safe_open(path, 'pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if META not in metadata:
        return tensors
    return dict(state_dict=tensors, meta=json.loads(metadata[META]))


@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$', force=True)
def _load_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """What lets ``load_from`` and ``init_cfg`` name a safetensors file."""
    return read_checkpoint(filename)


def unwrap(data: Any, path: str | Path) -> Weights:
    """Find the weights in what :func:`read_checkpoint` returned for a file.

    Raises:
        UserError: If there are none; names the file.
    """
    notes = []
    meta = data.get('meta') if isinstance(data, Mapping) else None
    while True:
        if isinstance(data, Foreign):
            kind = f'{type(data).__module__}.{type(data).__name__}'
            raise UserError(f'{path} holds a whole pickled model or object ({kind}), {SAVE_STATE}.')
        if not isinstance(data, Mapping):
            raise UserError(f'{path} holds a {type(data).__name__} instead of a state_dict.')
        wrapper = next((name for name in WRAPPERS if name in data), None)
        if wrapper is None or isinstance(data[wrapper], Tensor):
            break
        notes.append(f'the weights are under {wrapper!r}')
        notes += _averages(data, wrapper)
        data = data[wrapper]
    tensors = {key: value.detach() for key, value in data.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(
            f'{path} holds no weights: none of its {len(data)} keys '
            f'({", ".join(map(repr, list(data)[:5]))}) has a tensor.'
        )
    others = [key for key in data if key not in tensors]
    if others:
        notes.append(f'not tensors, left out: {", ".join(map(str, others[:5]))}')
    while prefix := next((p for p in PREFIXES if all(k.startswith(p) for k in tensors)), None):
        notes.append(f'the prefix {prefix!r} is taken off')
        tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
    return Weights(tensors, plain(meta) if isinstance(meta, Mapping) else {}, notes)


def _averages(data: Mapping, taken: str) -> list[str]:
    """What to say about averaged weights (EMA) beside those that are taken."""
    names = [name for name in data if re.search(r'(^|_)ema(_|$)', str(name)) and name != taken]
    names = [name for name in names if isinstance(data[name], Mapping)]
    meta = data.get('meta')
    if names == ['ema_state_dict'] and isinstance(meta, Mapping) and 'mmengine_version' in meta:
        # Its EMAHook swaps the two when it saves.
        return [
            f'{taken!r} holds the averaged weights (EMA), as mmengine saves them; those that were '
            f"trained are under 'ema_state_dict' and are not taken"
        ]
    return [f'averaged weights (EMA) are under {name!r} and are not taken' for name in names]


def plain(node: Any) -> Any:
    """Without objects whose classes were not loaded."""
    if isinstance(node, Mapping):
        return {k: plain(v) for k, v in node.items() if not isinstance(v, Foreign)}
    if isinstance(node, (list, tuple)):
        return type(node)(plain(value) for value in node if not isinstance(value, Foreign))
    return node


def to_bytes(checkpoint: dict[str, Any]) -> bytes:
    """A checkpoint as ``torch.save`` writes it; the same content gives the same bytes."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def to_safetensors(checkpoint: dict[str, Any]) -> bytes:
    """``{'state_dict', 'meta'}`` in the safetensors format, ``meta`` as JSON.

    Raises:
        UserError: If ``meta`` holds what JSON does not, or a tensor's dtype is not known.
    """
    tensors = {key: value.contiguous() for key, value in checkpoint['state_dict'].items()}
    try:
        return save(tensors, {META: json.dumps(checkpoint['meta'])})
    except (TypeError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f'a safetensors file cannot hold this checkpoint ({_first_line(error)}); a .pth can.'
        ) from error


def check_checkpoint(path: str, option: str) -> None:
    """Raise a :class:`UserError` unless ``path`` is a readable checkpoint (URLs pass)."""
    if '://' in path:
        return
    problem = broken(require_file(path, option))
    if problem:
        raise UserError(f'{option} {path!r} cannot be read: {problem}.')


def require_file(path: str | Path, option: str) -> Path:
    """The path of a file; if there is none, a :class:`UserError` that names those beside it."""
    file = Path(path).expanduser()
    if not file.is_file():
        what = 'is a folder' if file.is_dir() else 'does not exist'
        near = sorted(file.parent.glob('*.pth'))
        hint = f' In {file.parent}: {", ".join(p.name for p in near)}.' if near else ''
        raise UserError(f'{option} {str(path)!r} {what}.{hint}')
    return file
