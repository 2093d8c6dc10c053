"""Archives with odd parts, data of wrong types, and what has come to harm: kind -> bytes."""

import io
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict

import hostile
import numpy as np
import torch
from hostile import WEIGHTS, archive, entry, saved
from safetensors.torch import save


def archives(canary: str) -> dict[str, bytes]:
    """Archives with parts that no checkpoint has."""
    link = zipfile.ZipInfo('model/data/0')
    link.external_attr = 0o120777 << 16
    device = zipfile.ZipInfo('model/data/0')
    device.external_attr = 0o020666 << 16
    good = entry(pickle.NONE)
    bomb = archive(good, {'model/data/0': bytes(8 * 2**20)}, compression=zipfile.ZIP_DEFLATED)
    inside = archive(good, {'model/data/0': bomb})
    sound = saved({'state_dict': WEIGHTS})
    lying = bytearray(archive(good, {'model/data/0': bytes(16)}))
    where = lying.rindex(b'PK\x01\x02')
    lying[where + 20 : where + 28] = struct.pack('<II', 2**31, 2**31)
    encrypted = bytearray(archive(good))
    for start, place in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        where = encrypted.index(start)
        encrypted[where + place] |= 1
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode='w') as file:
        for name in ('storages', 'tensors', 'pickle'):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, canary
            file.addfile(info)
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    return {
        'a part above the archive': archive(good, {'../../outside': b'x'}),
        'a part with an absolute path': archive(good, {canary: b'x'}),
        'a part with a path of Windows': archive(good, {'model\\..\\..\\x': b'x'}),
        'a part elsewhere': archive(good, {'other/data.bin': b'x'}),
        'a link': archive(good, {link: b'/etc/passwd'}),
        'a device': archive(good, {device: b''}),
        'two parts of one name': _twice(good),
        'two programs': archive(good, {'other/data.pkl': b'N.'}),
        'an encrypted archive': bytes(encrypted),
        'a zip bomb': bomb,
        'a zip bomb in a part': inside.replace(b'model/data.pkl', b'model/data.pkk'),
        'a part that declares 2 GiB': bytes(lying),
        'TorchScript': script.getvalue(),
        'a tar archive of links': tar.getvalue(),
        'a plain pickle': pickle.dumps({'state_dict': {}}, 2),
        'a pickle of text': pickle.dumps({'state_dict': {}}, 0),
        'an archive of numpy': _npz(),
        'another checksum': sound.replace(struct.pack('<f', 7.0), struct.pack('<f', 8.0), 1),
        'an empty file': b'',
        'zeros': bytes(10_000),
        'a web page': b'<!DOCTYPE html><html></html>',
    }


def wrong_types() -> dict[str, bytes]:
    """Sound files that are no checkpoints."""
    return {
        'a list': saved([WEIGHTS]),
        'a tensor': saved(torch.zeros(3)),
        'a number': saved(3),
        'weights that are a list': saved({'state_dict': [1, 2]}),
        'weights that are a tensor': saved({'state_dict': torch.zeros(3)}),
        'weights with numbers for names': saved({'state_dict': {1: torch.zeros(3)}}),
        'weights with control characters': saved({'state_dict': {'a\x1b[2J\n': torch.zeros(1)}}),
        'meta that is a list': saved({'state_dict': WEIGHTS, 'meta': [1]}),
        'an epoch in words': saved({'state_dict': WEIGHTS, 'meta': {'epoch': 'one'}}),
        'an iteration before the first': saved({'state_dict': WEIGHTS, 'meta': {'iter': -1}}),
    }


def safetensors() -> dict[str, bytes]:
    good = save({'w': torch.ones(2, 3), 'v': torch.zeros(2)})
    length = int.from_bytes(good[:8], 'little')
    header = good[8 : 8 + length]

    def other(header: bytes, told: int | None = None, data: bytes = bytes(64)) -> bytes:
        return struct.pack('<Q', len(header) if told is None else told) + header + data

    overlap = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    overlap += b'"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}'
    return {
        'a header longer than the file': other(header, 10**6),
        'a huge header': other(header, 2**62),
        'a header of nothing': other(b'{', 1),
        'offsets that overlap': other(overlap, data=bytes(24)),
        'offsets behind the end': other(header, data=bytes(4)),
        'a shape that lies': other(header.replace(b'[2,3]', b'[9,9]')),
        'an unknown dtype': other(header.replace(b'F32', b'F33')),
        'a nested header': other(b'{"a":' * 100_000 + b'}' * 100_000),
        'a truncated safetensors': good[:-3],
    }


def truncated(number: int) -> dict[str, bytes]:
    """A sound checkpoint that ends too early, at so many places, as archive and before."""
    made = {'zip': saved(checkpoint()), 'legacy': legacy_checkpoint()}
    return {
        f'{kind}, {len(raw) * part // number} of {len(raw)} bytes': raw[: len(raw) * part // number]
        for kind, raw in made.items()
        for part in range(1, number)
    }


def checkpoint() -> dict:
    """As mmengine saves one."""
    state = OrderedDict(WEIGHTS)
    state._metadata = OrderedDict({'': {'version': 1}})
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return dict(
        meta=dict(epoch=1, iter=10, dataset_meta=dict(classes=('a', 'ä')), best=np.float64(0.5)),
        state_dict=state,
        optimizer=optimizer.state_dict(),
    )


def legacy_checkpoint() -> bytes:
    return saved(checkpoint(), _use_new_zipfile_serialization=False)


def _twice(program: bytes) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return archive(program, {'model/data.pkl': b'N.'})


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def everything(canary: str) -> dict[str, bytes]:
    """All kinds that are refused, by name."""
    shapes = hostile.exploits(canary)
    found = {f'{name} (zip)': archive(entry(program)) for name, program in shapes.items()}
    found |= {
        f'{name} (legacy)': hostile.legacy(entry(program)) for name, program in shapes.items()
    }
    return found | hostile.lies() | archives(canary) | wrong_types() | safetensors() | truncated(12)
