"""Reading checkpoints without running the code in them."""

import io
import json
import math
import pickle
import re
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmattn.utils.errors import UserError

# Keys under which training scripts put the weights; the last two only if there is no other.
WRAPPERS = (
    'state_dict',
    'model_state_dict',
    'model_state',
    'model',
    'net',
    'network',
    'state_dict_ema',
    'model_ema',
)
# Put in front of every key by DataParallel and by torch.compile.
PREFIXES = ('module.', '_orig_mod.')

# What a state_dict needs. A pickle may name any function to be called while it is read.
SAFE = {
    'collections': ('OrderedDict', 'defaultdict'),
    'torch': ('Size', 'device'),
    'torch.storage': ('UntypedStorage',),
    'torch._utils': (
        '_rebuild_tensor',
        '_rebuild_tensor_v2',
        '_rebuild_tensor_v3',
        '_rebuild_parameter',
    ),
    '_codecs': ('encode',),
    'builtins': ('set', 'frozenset', 'complex', 'bytearray', 'slice', 'range'),
    '__builtin__': ('set', 'frozenset', 'complex', 'bytearray', 'slice', 'xrange'),
}
FIRST_BYTES = (
    (b'<', 'is a web page, not a checkpoint; the download went wrong'),
    (b'version https://git-lfs', 'is a Git LFS pointer; fetch the file itself with git lfs pull'),
    (b'\x1f\x8b', 'is gzip-compressed; unpack it first'),
    (b'BZh', 'is bzip2-compressed; unpack it first'),
    (b'\x89HDF', 'is an HDF5 file (Keras?), not a PyTorch checkpoint'),
)


SAFETENSORS_DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}


class Foreign:
    """Stands for an object of a class that is not needed, and so is not loaded."""

    def __new__(cls, *args: Any, **options: Any) -> 'Foreign':
        return super().__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class Weights(NamedTuple):
    """The weights in a checkpoint.

    Attributes:
        tensors: Key -> tensor, without the prefixes of DataParallel and torch.compile.
        meta: The checkpoint's ``meta``, {} without one.
        notes: What was unwrapped, for the user.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    notes: list[str]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in SAFE.get(module, ()) or (module == 'torch' and _is_dtype(name)):
            return super().find_class(module, name)
        return type(name, (Foreign,), {'__module__': module})


def _is_dtype(name: str) -> bool:
    return isinstance(getattr(torch, name, None), torch.dtype)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


# What torch.load asks of a pickle module.
_pickle = types.SimpleNamespace(__name__='mmattn', Unpickler=_Unpickler, load=_load)


def read_checkpoint(path: str | Path) -> Any:
    """Read a .pth, .pt, .pth.tar, .bin or .safetensors file on the CPU.

    No code of the file's author runs: objects of other classes than tensors and plain
    containers (optimizers, configs, hooks' records) become :class:`Foreign`.

    Raises:
        UserError: If the file is missing, damaged or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        if re.match(r'\w\w+:/', str(path)):
            raise UserError(f'{path} is a URL; download it first and give the file.')
        check_checkpoint(str(path), 'the checkpoint')
    with open(path, 'rb') as file:
        head = file.read(512)
    for start, what in FIRST_BYTES:
        if head.lstrip().startswith(start):
            raise UserError(f'{path} {what}.')
    if head[8:9] == b'{':
        return _read_safetensors(path)
    # torch's own archives begin with a zip entry; a truncated one has no directory at its end
    problem = broken(path) if head.startswith(b'PK') or not head else None
    if problem is None:
        try:
            return torch.load(path, map_location='cpu', pickle_module=_pickle, weights_only=False)
        except Exception as error:  # a damaged pickle can raise anything
            text = str(error).strip().split('\n')[0]
            problem = f'{type(error).__name__}: {text}' if text else type(error).__name__
    raise UserError(f'{path} is no PyTorch checkpoint, or a damaged one ({problem}).')


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """The format of the Hugging Face hub: a JSON header with the place of each tensor."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], 'little')
    tensors = {}
    try:
        for name, entry in json.loads(content[8:start]).items():
            if name == '__metadata__':
                continue
            dtype, shape = SAFETENSORS_DTYPES[entry['dtype']], entry['shape']
            first, last = entry['data_offsets']
            raw = torch.frombuffer(content[start + first : start + last] or b'\0' * 8, dtype=dtype)
            tensors[name] = raw[: math.prod(shape)].reshape(shape)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(f'{path} is a damaged safetensors file ({error!r}).') from error
    return tensors


def unwrap(data: Any, path: str | Path) -> Weights:
    """Find the weights in what a checkpoint file holds.

    Args:
        data: What :func:`read_checkpoint` returned.
        path: Its file, for messages.

    Raises:
        UserError: If there are none.
    """
    notes = []
    meta = data.get('meta') if isinstance(data, Mapping) else None
    while True:
        if not isinstance(data, Mapping):
            raise UserError(f'{path} holds {_describe(data)} instead of a state_dict.')
        wrapper = next((name for name in WRAPPERS if name in data), None)
        if wrapper is None or isinstance(data[wrapper], Tensor):
            break
        notes.append(f'the weights are under {wrapper!r}')
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


def _describe(data: Any) -> str:
    if isinstance(data, Foreign):
        kind = type(data)
        return (
            f'a whole pickled model or object ({kind.__module__}.{kind.__name__}), whose '
            f'code would have to run; save model.state_dict() with the code it came from'
        )
    if isinstance(data, torch.jit.ScriptModule):
        return 'a TorchScript program'
    return f'a {type(data).__name__}'


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


def broken(path: Path) -> str | None:
    """Say why a checkpoint file cannot be read, or None if it can.

    Checks the archive's checksums rather than building tensors: a truncated
    file has no directory at its end, a damaged one a wrong checksum.
    """
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except (zipfile.BadZipFile, OSError) as error:
            return str(error)
        return None if bad is None else f'its part {bad} is damaged'
    if path.stat().st_size == 0:
        return 'it is empty'
    try:
        # the format before torch 1.6 is no zip archive
        torch.load(path, map_location='cpu', weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
        return f'truncated or not a checkpoint: {type(error).__name__}'
    return None


def check_checkpoint(path: str, option: str) -> None:
    """Raise a :class:`UserError` unless ``path`` is a readable checkpoint (URLs pass)."""
    if '://' in path:
        return
    file = Path(path).expanduser()
    if not file.is_file():
        what = 'is a folder' if file.is_dir() else 'does not exist'
        near = sorted(file.parent.glob('*.pth')) if file.parent.is_dir() else []
        hint = f' In {file.parent}: {", ".join(p.name for p in near)}.' if near else ''
        raise UserError(f'{option} {path!r} {what}.{hint}')
    problem = broken(file)
    if problem:
        raise UserError(f'{option} {path!r} cannot be read: {problem}.')
