"""Unpickling without calling anything that the file names.

A pickle is a program: it names functions, calls them, and sets attributes of what they return.
Here a name is never looked up. It becomes a :class:`Name`, and where the program calls it, a
function of :mod:`mmattn.utils.rebuilding` does it.
"""

import pickle
import sys
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import HistoryBuffer

from mmattn.utils.errors import UserError
from mmattn.utils.rebuilding import (
    FACTORIES,
    HISTORY,
    METHODS,
    STATES,
    TABLE,
    Foreign,
    Name,
    NeedsTrust,
    hashable,
    put,
    shown,
)

# Beside what a file holds: copies that it asks for, and dimensions expanded without a copy.
SPARE = 2**28
# Names of old versions (Python 2, numpy 2) -> those of the table.
SAME = {
    '__builtin__': 'builtins',
    'copy_reg': 'copyreg',
    'numpy._core.multiarray': 'numpy.core.multiarray',
}
DTYPES = {name: dtype for name, dtype in vars(torch).items() if isinstance(dtype, torch.dtype)}
STORAGES = {
    'BFloat16Storage': torch.bfloat16,
    'BoolStorage': torch.bool,
    'ByteStorage': torch.uint8,
    'CharStorage': torch.int8,
    'ComplexDoubleStorage': torch.complex128,
    'ComplexFloatStorage': torch.complex64,
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'IntStorage': torch.int32,
    'LongStorage': torch.int64,
    'ShortStorage': torch.int16,
    'UntypedStorage': torch.uint8,
}
# What old training scripts keep beside the weights, and nobody needs.
LEFT_OUT = ('pathlib', 'datetime')


class Unpickler(pickle._Unpickler):  # that in C sets attributes of what the table returns
    """Reads one pickle.

    Args:
        file: Where it begins.
        size: Bytes of the whole file; limits what is made of them.
        storage: Returns the storage of a persistent id.
        lenient: Objects of unknown classes become :class:`Foreign` instead of an error; calls
            of unknown functions stay one.
        encoding: Of Python 2's strings.

    Raises:
        UserError: Saying what "it" does that is refused. Damaged files raise any error.
    """

    def __init__(
        self,
        file: Any,
        size: int,
        storage: Callable[[tuple], Any],
        lenient: bool = False,
        encoding: str = 'utf-8',
    ) -> None:
        super().__init__(file, encoding=encoding)
        self.persistent_load = storage
        self.budget = 4 * size + SPARE
        self.lenient = lenient

    def find_class(self, module: str, name: str) -> Any:
        if module == 'torch' and name in DTYPES:
            return DTYPES[name]
        full = f'{SAME.get(module, module)}.{name}'
        if full in METHODS:
            return METHODS[full]
        is_storage = module in ('torch', 'torch.storage') and name in STORAGES
        if full in TABLE or is_storage or full.removeprefix('builtins.') in FACTORIES:
            return Name(full)
        return self.unknown(full)

    def unknown(self, name: str) -> Name:
        if not self.lenient:
            raise NeedsTrust(f'asks for {shown(name)}, which is no plain data')
        return Name(name)

    def call(self, function: Any, args: Any) -> Any:
        """What a function of the table makes of its arguments."""
        if type(function) is not Name or type(args) is not tuple:
            raise UserError('calls what is no function')
        if function.name not in TABLE:
            if function.name.partition('.')[0] in LEFT_OUT and self.lenient:
                return Foreign(function.name)
            raise NeedsTrust(f'asks to run {shown(function.name)} while it is read')
        result = TABLE[function.name](self, *args)
        self.spend(sys.getsizeof(result))
        return result

    def spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise UserError('grows far beyond its size when it is read')

    def new(self, kind: Any, args: Any) -> Any:
        """An object of a class, without its state."""
        if self.lenient and type(kind) is Name and kind.name not in TABLE:
            return Foreign(kind.name)
        if type(kind) is Name and kind.name == HISTORY and args == ():
            return HistoryBuffer()
        return self.call(kind, args)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self.new(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_obj(self) -> None:
        kind, *args = self.pop_mark()
        self.append(self.new(kind, tuple(args)))

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode('ascii') for _ in range(2))
        args = tuple(self.pop_mark())
        self.append(self.new(self.find_class(module, name), args))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Foreign):
            return
        if type(target) not in STATES:
            raise UserError(f'sets attributes of an object of the class {type(target).__name__}')
        STATES[type(target)](self, target, state)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        put(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        put(self.stack[-1], items)

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(put({}, items))

    def load_appends(self) -> None:
        items = self.pop_mark()
        self.extend(items)

    def load_append(self) -> None:
        self.extend([self.stack.pop()])

    def extend(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target += items
        elif not isinstance(target, Foreign):
            raise UserError(f'appends to a {type(target).__name__}')

    def load_additems(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if type(target) is set:
            target.update(map(hashable, items))
        elif not isinstance(target, Foreign):
            raise UserError(f'adds to a {type(target).__name__}')

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(map(hashable, items)))

    def refuse(self) -> None:
        raise UserError('uses what only objects of a running program need')

    dispatch = dict(pickle._Unpickler.dispatch)
    for _opcode in (
        *('REDUCE', 'NEWOBJ', 'NEWOBJ_EX', 'OBJ', 'INST', 'BUILD', 'SETITEM', 'SETITEMS'),
        *('DICT', 'APPENDS', 'APPEND', 'ADDITEMS', 'FROZENSET'),
    ):
        dispatch[getattr(pickle, _opcode)[0]] = locals()[f'load_{_opcode.lower()}']
    for _opcode in ('EXT1', 'EXT2', 'EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER', 'BYTEARRAY8'):
        dispatch[getattr(pickle, _opcode)[0]] = refuse
