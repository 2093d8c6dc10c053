"""Whether what was read from a file can be walked through, printed and trained with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmattn.utils.errors import UserError
from mmattn.utils.rebuilding import Foreign, Storage, is_count

# A checkpoint has less than ten levels; recursion ends at a thousand.
DEEPEST = 100
# Of entries, with shared containers counted once for each place where they are.
LARGEST = 20_000_000
VALUES = (int, float, bool, complex, type(None), bytes, bytearray, slice, range)
VALUES += (torch.Tensor, torch.dtype, torch.device, np.ndarray, np.generic, np.dtype)
VALUES += (HistoryBuffer, type(HistoryBuffer.min))
# Of a checkpoint, which are dicts.
PARTS = ('state_dict', 'meta', 'message_hub')


def check_tree(data: Any, lenient: bool = False) -> None:
    """Raise a :class:`UserError`, saying what "it" does, for data that would crash who reads it.

    These are containers in themselves, too deep or, by sharing, too many, strings that no
    terminal and no file takes, and, unless ``lenient``, objects that stand for others.
    """
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if isinstance(node, str):
            _check_text(node)
            return 1
        if isinstance(node, Mapping):
            children = [*node, *node.values()]
        elif isinstance(node, (list, tuple, set, frozenset)):
            children = node
        elif isinstance(node, VALUES) or (lenient and isinstance(node, (Foreign, Storage))):
            return 1
        else:
            name = node.name if isinstance(node, Foreign) else type(node).__name__
            raise UserError(f'holds {ascii(name)[:80]} where data is expected')
        key = id(node)
        if key not in sizes:
            if key in open_:
                raise UserError('holds a container that contains itself')
            if depth == DEEPEST:
                raise UserError(f'is nested deeper than {DEEPEST} levels')
            open_.add(key)
            sizes[key] = 1 + sum(size(child, depth + 1) for child in children)
            open_.discard(key)
            if sizes[key] > LARGEST:
                raise UserError(f'unfolds to more than {LARGEST:,} entries')
        return sizes[key]

    size(data, 0)


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f'holds text that is not Unicode, {ascii(text)[:80]}') from error


def check_names(weights: Mapping) -> None:
    """Raise a :class:`UserError`, saying what "it" does, for names that no weights have."""
    for key in weights:
        if not isinstance(key, str) or not key.isprintable():
            raise UserError(f'has weights with the name {ascii(key)[:80]}')


def check_parts(data: Any) -> None:
    """Raise a :class:`UserError`, saying what "it" does, unless mmengine can work with it."""
    if not isinstance(data, Mapping):
        raise UserError(f'holds a {type(data).__name__} instead of a state_dict')
    for name in PARTS:
        if not isinstance(data.get(name, {}), Mapping):
            raise UserError(f'has a {type(data[name]).__name__} for {name!r}, not a dict')
    check_names(data.get('state_dict', data))
    meta = data.get('meta', {})
    for name in ('epoch', 'iter'):
        if not is_count(meta.get(name, 0)):
            raise UserError(f'says that its {name} is {ascii(meta[name])[:80]}')
