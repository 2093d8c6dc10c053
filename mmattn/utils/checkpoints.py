"""Reading checkpoints without running the code in them."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mmattn.utils.archives import (
    SAVE_STATE,
    TAR,
    ZIP,
    read_archive,
    read_legacy,
    verify_archive,
)
from mmattn.utils.errors import UserError
from mmattn.utils.plain_data import check_names, check_tree
from mmattn.utils.rebuilding import Foreign, NeedsTrust, shown

# Keys under which training scripts put the weights; averages only if there is no other.
WRAPPERS = ['state_dict', 'model_state_dict', 'model_state', 'model', 'net', 'network']
WRAPPERS += ['state_dict_ema', 'model_ema']
# What is dropped where only data is wanted.
OBJECTS = (Foreign, HistoryBuffer)
# Put in front of every key by DataParallel and by torch.compile.
PREFIXES = ('module.', '_orig_mod.')
FIRST_BYTES = {
    b'<': 'is a web page, not a checkpoint; the download went wrong',
    b'version https://git-lfs': 'is a Git LFS pointer; fetch the file itself with git lfs pull',
    b'\x1f\x8b': 'is gzip-compressed; unpack it first',
    b'BZh': 'is bzip2-compressed; unpack it first',
    b'\x89HDF': 'is an HDF5 file (Keras?), not a PyTorch checkpoint',
}
TRUST = (
    'If you trust who made it with this machine, --trust-checkpoint (in a config '
    'survival=dict(trust_checkpoint=True)) lets it run'
)
# Under which safetensors' metadata holds ours. One key only: their order in the file is random.
META = 'mmattn_meta'

_trusted: ContextVar[bool] = ContextVar('trusted', default=False)


class Weights(NamedTuple):
    """The weights in a checkpoint, and what was unwrapped to find them."""

    tensors: dict[str, Tensor]  # without the prefixes of DataParallel and torch.compile
    meta: dict[str, Any]
    notes: list[str]


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Within it, checkpoints are read as torch.load does, which runs what they ask for."""
    token = _trusted.set(trust or _trusted.get())
    try:
        yield
    finally:
        _trusted.reset(token)


def is_trusting() -> bool:
    return _trusted.get()


def read_checkpoint(path: str | Path) -> Any:
    """Read the weights of a .pth, .pt, .pth.tar, .bin or .safetensors file, on the CPU.

    No code of the file's author runs: objects of other classes than tensors and plain
    containers (configs, a training script's options) become :class:`Foreign`; a file that asks
    for a call of a function is refused, unless within :func:`trusting`, and TorchScript always.
    A safetensors file is its tensors, in ``state_dict`` if it has a ``meta`` that
    :func:`to_safetensors` wrote.

    Raises:
        UserError: If the file is missing, damaged, refused or no checkpoint.
    """
    if re.match(r'\w\w+:/', str(path)):
        raise UserError(f'{path} is a URL; download it first and give the file.')
    file = require_file(path, 'the checkpoint')
    with open(file, 'rb') as stream:
        return read_stream(stream, str(path), lenient=True)


def read_stream(stream: BinaryIO, name: str, location: Any = None, lenient: bool = False) -> Any:
    """The content of an open file.

    Args:
        name: For messages.
        location: Where tensors go, as ``map_location`` of torch.load; None is the CPU.
        lenient: Let :class:`Foreign` stand for objects that are not loaded.

    Raises:
        UserError: If it is damaged, refused or no checkpoint.
    """
    try:
        return _read(stream, location, lenient)
    except NeedsTrust as error:
        raise UserError(f'{name} is not read: it {error}. {TRUST}.') from error
    except UserError as error:
        message = f'{name} is no PyTorch checkpoint, or a damaged one: it {error}.'
        raise UserError(message) from error


def broken(path: Path) -> str | None:
    """Say why a checkpoint file cannot be read ('it is empty'), or None if it can."""
    try:
        with open(path, 'rb') as stream:
            _read(stream, archives=False)
    except NeedsTrust:
        return None  # nothing is wrong with it
    except UserError as error:
        return f'it {error}'
    return None


def _read(
    stream: BinaryIO, location: Any = None, lenient: bool = True, archives: bool = True
) -> Any:
    """What is in a file; of an archive, if that is not wanted, only the checksums are read.

    Raises:
        UserError: Saying what "it" is.
    """
    head = stream.read(512)
    stream.seek(0)
    is_zip = head.startswith(ZIP)
    try:
        if head[8:9] == b'{':
            data = _read_safetensors(stream, location)
            check_tree(data)
            return data
        for start, what in FIRST_BYTES.items():
            if head.lstrip().startswith(start):
                raise UserError(what)
        if not head:
            raise UserError('is empty')
        if head[257:].startswith(TAR):
            raise UserError('is a tar archive, as torch 0.1 wrote them')
        if is_zip and (is_trusting() or not archives):
            verify_archive(stream)
            stream.seek(0)
        if is_zip and not archives:
            return None
        if is_trusting():
            return torch.load(stream, map_location=location or 'cpu', weights_only=False)
        data = (read_archive if is_zip else read_legacy)(stream, location, lenient)
        check_tree(data, lenient)
        return data
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f'is truncated or not a checkpoint: {_first_line(error)}') from error


def _first_line(error: Exception) -> str:
    return ascii(f'{type(error).__name__}: {error}'.strip().split('\n')[0].rstrip(': '))[1:-1]


def _read_safetensors(stream: BinaryIO, location: Any) -> dict[str, Any]:
    # Others than names of devices are for what torch.save wrote.
    device = location if isinstance(location, (str, torch.device)) else 'cpu'
    with safe_open(stream.name, 'pt') as file:
        tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if META not in metadata:
        return tensors
    return dict(state_dict=tensors, meta=json.loads(metadata[META]))


def unwrap(data: Any, path: str | Path) -> Weights:
    """Find the weights in what :func:`read_checkpoint` returned for a file.

    Raises:
        UserError: If there are none; names the file.
    """
    notes = []
    meta = data.get('meta') if isinstance(data, Mapping) else None
    while True:
        if isinstance(data, Foreign):
            kind = f'a whole pickled model or object ({shown(data.name)})'
            raise UserError(f'{path} holds {kind}, {SAVE_STATE}.')
        if not isinstance(data, Mapping):
            raise UserError(f'{path} holds a {type(data).__name__} instead of a state_dict.')
        wrapper = next((name for name in WRAPPERS if name in data), None)
        if wrapper is None or isinstance(data[wrapper], Tensor):
            break
        notes.append(f'the weights are under {wrapper!r}')
        notes += _averages(data, wrapper)
        data = data[wrapper]
    try:
        check_names(data)
    except UserError as error:
        raise UserError(f'{path} holds no weights: it {error}.') from error
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
    """As data that torch.load reads with weights_only and JSON holds, without other objects."""
    if isinstance(node, Mapping):
        return {k: plain(v) for k, v in node.items() if not isinstance(v, OBJECTS)}
    if isinstance(node, (list, tuple)):
        return type(node)(plain(value) for value in node if not isinstance(value, OBJECTS))
    return node.tolist() if isinstance(node, (np.ndarray, np.generic)) else node


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], file: str | Path) -> None:
    """Load a checkpoint of the whole model, or of its backbone alone, completely.

    Raises:
        UserError: If a weight is missing, superfluous or of another shape.
    """
    target = model
    if not any(key.startswith('backbone.') for key in tensors) and hasattr(model, 'backbone'):
        target = model.backbone
    try:
        missing, unexpected = target.load_state_dict(dict(tensors), strict=False)
    except (RuntimeError, ValueError) as error:
        text = ' '.join(str(error).split())
        raise UserError(f'{file} does not fit the config: {text}') from error
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    if missing or unexpected:
        raise UserError(
            f'{file} does not fit the config: {len(missing)} keys are missing '
            f'({", ".join(missing[:3]) or "none"}), {len(unexpected)} have no place '
            f'({", ".join(unexpected[:3]) or "none"}).'
        )


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
