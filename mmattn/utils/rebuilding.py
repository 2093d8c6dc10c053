"""What a pickle's calls do instead: functions that check what they are given.

All of what mmengine and torch write into checkpoints is in :data:`TABLE` (calls) and
:data:`STATES` (what follows them); it is the same on every version of torch.
"""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmattn.utils.errors import UserError

FACTORIES = dict(dict=dict, list=list, set=set, int=int, float=float, str=str)
HASHABLE = (str, int, float, bool, complex, bytes, type(None))
HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
# Its own, which it pickles as well; nothing calls them.
METHODS = {
    f'{HISTORY}.{name}': getattr(HistoryBuffer, name) for name in ('min', 'max', 'current', 'mean')
}
TENSORS = ('torch.Tensor', 'torch.nn.parameter.Parameter')


class NeedsTrust(UserError):
    """A file that more is to be done for than reading data."""


class Foreign:
    """Stands for an object of a class that is not needed, and so is not loaded.

    Args:
        name: Of its class, with the module.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def _ignore(self, *args: Any) -> None:
        pass

    __setitem__ = append = extend = add = _ignore


class Name(Foreign):
    """A class or function that a file names."""


class Storage:
    """What tensors of a file are views of.

    Args:
        content: The bytes.
        dtype: Of its elements.
    """

    def __init__(self, content: torch.UntypedStorage, dtype: torch.dtype) -> None:
        self.content, self.dtype = content, dtype


class Reader(Protocol):
    """The unpickler, as these functions need it."""

    def call(self, function: Any, args: Any) -> Any: ...

    def new(self, kind: Any, args: Any) -> Any: ...

    def spend(self, size: int) -> None: ...


def shown(name: str) -> str:
    """A name of a file for a message: one line, not long."""
    return ascii(name)[1:-1][:80]


def hashable(key: Any) -> Any:
    """A key; tuples of tuples ... can crash the interpreter when they are hashed."""
    parts = key if type(key) is tuple else (key,)
    if not all(type(part) in HASHABLE for part in parts):
        raise UserError(f'has a {type(key).__name__} for a key')
    return key


def put(target: Any, items: Sequence[Any]) -> Any:
    """Add keys and values, in turn, to a dict."""
    if not isinstance(target, (dict, Foreign)) or len(items) % 2:
        raise UserError(f'sets items of a {type(target).__name__}')
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[hashable(key)] = value
    return target


def require(valid: bool, what: str) -> None:
    if not valid:
        raise UserError(f'holds {what} as neither torch nor mmengine writes one')


def is_count(*values: Any) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


# What the table's functions do: the first argument is the reader.


def _ordered(_: Reader, pairs: Iterable = ()) -> OrderedDict:
    require(type(pairs) in (list, tuple), 'an OrderedDict')
    return put(OrderedDict(), [part for key, value in pairs for part in (key, value)])


def _defaultdict(_: Reader, factory: Name | None = None) -> defaultdict:
    if factory is None:
        return defaultdict()
    name = factory.name.removeprefix('builtins.') if type(factory) is Name else ''
    require(name in FACTORIES, 'a defaultdict')
    return defaultdict(FACTORIES[name])


def _counter(_: Reader, counts: dict) -> Counter:
    require(type(counts) is dict, 'a Counter')
    return Counter(counts)


def _config_dict(_: Reader, content: dict) -> ConfigDict:
    require(type(content) is dict, 'a ConfigDict')
    result = ConfigDict()
    # What is inside has been converted when it was saved.
    dict.update(result, content)
    return result


def _set(kind: type) -> Callable[..., Any]:
    def build(_: Reader, items: Sequence = ()) -> Any:
        require(type(items) in (list, tuple), 'a set')
        return kind(map(hashable, items))

    return build


def _numbers(kind: Callable[..., Any]) -> Callable[..., Any]:
    def build(_: Reader, *args: Any) -> Any:
        require(all(type(arg) in (int, float, type(None)) for arg in args), f'a {kind.__name__}')
        return kind(*args)

    return build


def _bytes(kind: type) -> Callable[..., Any]:
    def build(_: Reader, content: Any = b'', encoding: str = 'latin1') -> Any:
        require(
            type(content) in (str, bytes) and encoding in ('latin1', 'latin-1'), 'a byte string'
        )
        return kind(content.encode('latin1') if type(content) is str else content)

    return build


def _size(_: Reader, sizes: tuple = ()) -> torch.Size:
    require(type(sizes) in (tuple, list, torch.Size) and is_count(*sizes), 'a shape')
    return torch.Size(sizes)


def _device(_: Reader, kind: str, index: int | None = None) -> torch.device:
    require(type(kind) is str and (index is None or is_count(index)), 'a device')
    return torch.device(kind) if index is None else torch.device(kind, index)


def _getattr(_: Reader, owner: Any, name: Any) -> Any:
    """What mmengine's HistoryBuffer pickles: its own methods."""
    if type(owner) is Name and type(name) is str and f'{owner.name}.{name}' in METHODS:
        return METHODS[f'{owner.name}.{name}']
    raise NeedsTrust('asks to run builtins.getattr while it is read')


def _object(reader: Reader, kind: Any, base: Any, state: Any) -> Any:
    return reader.new(kind, ())


def _tensor(
    reader: Reader,
    storage: Storage,
    offset: int,
    size: tuple,
    stride: tuple,
    requires_grad: bool = False,
    hooks: Any = None,
    flags: Any = None,
) -> Tensor:
    require(type(storage) is Storage and not flags, 'a tensor')
    view = _view(reader, storage, storage.dtype, offset, size, stride)
    return view.requires_grad_(requires_grad is True)


def _tensor_of_dtype(
    reader: Reader,
    storage: Storage,
    offset: int,
    size: tuple,
    stride: tuple,
    requires_grad: bool,
    hooks: Any,
    dtype: torch.dtype,
    flags: Any = None,
) -> Tensor:
    require(isinstance(dtype, torch.dtype) and not flags, 'a tensor')
    view = _view(reader, storage, dtype, offset, size, stride)
    return view.requires_grad_(requires_grad is True)


def _view(
    reader: Reader,
    storage: Any,
    dtype: torch.dtype,
    offset: Any,
    size: Any,
    stride: Any,
) -> Tensor:
    valid = type(storage) is Storage and all(
        type(each) in (tuple, torch.Size) for each in (size, stride)
    )
    valid = valid and is_count(offset, *size, *stride) and len(size) == len(stride) <= 64
    require(valid, 'a tensor')
    held = storage.content.nbytes()
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and (last + 1) * dtype.itemsize > held:
        raise UserError(f'declares a tensor {tuple(size)}, but holds {held} bytes of it')
    # A stride of 0 repeats what is there; whoever copies the tensor needs all of its memory.
    reader.spend(max(prod(size) * dtype.itemsize - held, 0))
    empty = torch.empty(0, dtype=dtype, device=storage.content.device)
    return empty.set_(storage.content, offset, size, stride)


def _parameter(_: Reader, data: Tensor, requires_grad: bool, *__: Any) -> torch.nn.Parameter:
    require(isinstance(data, Tensor), 'a parameter')
    return torch.nn.Parameter(data.detach(), requires_grad is True)


def _typed(reader: Reader, function: Any, kind: Any, args: Any, state: Any) -> Tensor:
    """A tensor with attributes of its own, which nothing that is read here needs."""
    require(type(kind) is Name and kind.name in TENSORS, 'a tensor')
    return reader.call(function, args)


def _dtype(_: Reader, text: str, *__: Any) -> np.dtype:
    dtype = np.dtype(text, copy=True) if type(text) is str else None
    require(dtype is not None and dtype.kind in 'biufcSU' and dtype.names is None, 'a dtype')
    return dtype


def _array(_: Reader, kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    return np.empty(0, 'b')


def _scalar(_: Reader, dtype: np.dtype, content: bytes) -> np.generic:
    require(isinstance(dtype, np.dtype) and type(content) is bytes, 'a number')
    require(len(content) == dtype.itemsize > 0, 'a number')
    return np.frombuffer(content, dtype)[0]


def _class(reader: Reader, *_: Any) -> None:
    raise UserError('makes an object in a way that no checkpoint needs')


TABLE: dict[str, Callable[..., Any]] = {
    'collections.OrderedDict': _ordered,
    'collections.defaultdict': _defaultdict,
    'collections.Counter': _counter,
    'mmengine.config.config.ConfigDict': _config_dict,
    'builtins.set': _set(set),
    'builtins.frozenset': _set(frozenset),
    'builtins.complex': _numbers(complex),
    'builtins.slice': _numbers(slice),
    'builtins.range': _numbers(range),
    'builtins.xrange': _numbers(range),
    'builtins.bytearray': _bytes(bytearray),
    'builtins.bytes': _bytes(bytes),
    'builtins.getattr': _getattr,
    'builtins.object': _class,
    '_codecs.encode': _bytes(bytes),
    'copyreg._reconstructor': _object,
    'torch.Size': _size,
    'torch.device': _device,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_of_dtype,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._tensor._rebuild_from_type_v2': _typed,
    'numpy.dtype': _dtype,
    'numpy.ndarray': _class,
    'numpy.core.multiarray._reconstruct': _array,
    'numpy.core.multiarray.scalar': _scalar,
    HISTORY: _class,
    **dict.fromkeys(TENSORS, _class),
}


def _set_dtype(_: Reader, dtype: np.dtype, state: Any) -> None:
    require(
        type(state) is tuple and len(state) >= 8 and state[1] in ('<', '>', '|', '='), 'a dtype'
    )
    require(state[2:5] == (None, None, None) and state[5] in (-1, dtype.itemsize), 'a dtype')
    dtype.__setstate__((3, state[1], None, None, None, *state[5:7], 0))


def _set_array(reader: Reader, array: np.ndarray, state: Any) -> None:
    require(type(state) is tuple and len(state) == 5, 'an array')
    _, shape, dtype, _, content = state
    require(type(shape) is tuple and is_count(*shape) and isinstance(dtype, np.dtype), 'an array')
    require(type(content) is bytes and prod(shape) * dtype.itemsize == len(content), 'an array')
    reader.spend(len(content))
    array.__setstate__(state)


def _set_history(_: Reader, buffer: HistoryBuffer, state: Any) -> None:
    kinds = dict(max_length=int, _log_history=np.ndarray, _count_history=np.ndarray)
    valid = type(state) is dict and all(isinstance(state.get(k), v) for k, v in kinds.items())
    require(valid, 'a HistoryBuffer')
    for name in kinds:
        setattr(buffer, name, state[name])


def _set_ordered(_: Reader, target: OrderedDict, state: Any) -> None:
    """Versions of a state_dict's modules."""
    versions = state.get('_metadata') if type(state) is dict else None
    valid = isinstance(versions, dict) and all(isinstance(each, dict) for each in versions.values())
    require(valid and len(state) == 1, 'an OrderedDict')
    target._metadata = versions


STATES: dict[type, Callable[[Reader, Any, Any], None]] = {
    np.dtype: _set_dtype,
    **{type(np.dtype(kind)): _set_dtype for kind in '?bhilqBHILQefdgFDGSU'},
    np.ndarray: _set_array,
    HistoryBuffer: _set_history,
    OrderedDict: _set_ordered,
}
