"""Making a training checkpoint small and nameable: weights and meta, and a hash in the name."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from mmattn.utils.checkpoints import OBJECTS, plain, read_checkpoint, to_bytes, to_safetensors
from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole

# What a published checkpoint keeps, and what meta says about the training run only.
KEPT = ('state_dict', 'meta')
RUN_ONLY = ('hook_msgs', 'experiment_name', 'time', 'seed')
HASH_DIGITS = 8
FORMATS = {'pth': to_bytes, 'safetensors': to_safetensors}


class Published(NamedTuple):
    """A file that :func:`publish` wrote."""

    path: Path
    before: int  # size of the training checkpoint, in bytes
    after: int  # size of the file
    removed: list[str]  # what was left out


def publish(src: Path, dst: Path, force: bool = False, kind: str | None = None) -> Published:
    """Write the weights of a training checkpoint to ``dst`` with a hash in its name.

    The name gets the first 8 digits of the file's SHA-256 before its ending, as OpenMMLab's
    and torch.hub's downloads have it; the same weights give the same name.

    Args:
        src: Checkpoint that mmengine's Runner saved, or a bare state_dict.
        dst: Name without the hash, .pth or .safetensors; a hash it has already is replaced.
        force: Overwrite a file of the same name.
        kind: 'pth' or 'safetensors' (``meta`` as JSON in its metadata); default: by the
            ending of ``dst``, 'pth' for all others.

    Raises:
        UserError: If ``src`` is no checkpoint, or the file exists already.
    """
    data = read_checkpoint(src)
    if not isinstance(data, Mapping):
        raise UserError(f'{src} holds a {type(data).__name__}, not a checkpoint.')
    data = data if 'state_dict' in data else dict(state_dict=data)
    weights = _tensors(data['state_dict'])
    if not weights:
        raise UserError(f'{src} holds no weights: its keys are {", ".join(map(str, data))}.')
    meta = data.get('meta') if isinstance(data.get('meta'), Mapping) else {}
    removed = [key for key in data if key not in KEPT]
    removed += [f'meta.{key}' for key in meta if key in RUN_ONLY or isinstance(meta[key], OBJECTS)]
    kept = {key: plain(value) for key, value in meta.items() if f'meta.{key}' not in removed}
    ending = dst.suffix[1:]
    kind = kind or (ending if ending in FORMATS else 'pth')
    content = FORMATS[kind](dict(state_dict=weights, meta=kept))
    digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
    stem = re.sub(rf'-[0-9a-f]{{{HASH_DIGITS}}}$', '', dst.stem if ending in FORMATS else dst.name)
    path = dst.with_name(f'{stem}-{digest}.{kind}')
    refuse_existing(path, force)
    write_whole(path, content)
    return Published(path, src.stat().st_size, len(content), removed)


def _tensors(weights: Any) -> dict[str, Tensor]:
    """Tensors of their own: one that is a view would be saved with all of what it views."""
    items = weights.items() if isinstance(weights, Mapping) else ()
    return {key: value.detach().clone() for key, value in items if isinstance(value, Tensor)}
