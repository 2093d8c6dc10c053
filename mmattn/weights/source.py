"""What a source of checkpoints is: how its keys are called, and which attention it has."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.weights.mobilenet_v2 import rename_mobilenet_v2

Shapes = Mapping[str, Sequence[int]]

# The classifiers of all sources; in mmpretrain it is head.fc.
HEAD = r'(?:fc|last_linear|head\.fc|classifier(?:\.\d)?)\.(weight|bias)'


class Source(NamedTuple):
    """One source of checkpoints: a repository or a library.

    Attributes:
        name: What ``--source`` takes.
        origin: Where its checkpoints come from.
        mark: Pattern of a key that tells the source from others.
        example: A key that fits ``mark``, for messages.
        renames: Pattern of a key -> its name in mmattn; the first that fits (from the start
            of the key) is used, and other keys keep their names. ``attn_inner`` and
            ``attn_outer`` stand for the slots where 'inner' and 'outer' attentions go.
        attention: The attentions its slots may hold, by their registered names.
        arguments: Arguments of the attention that no shape tells.
        positions: Where a parameter-free attention is, which no key tells; the first of them
            that a block has.
        note: What the user should know.
        alike: Sources whose checkpoints it can read too, having the same names.
    """

    name: str
    origin: str
    mark: str
    example: str
    renames: Mapping[str, str] = {}
    attention: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = {}
    positions: tuple[str, ...] = ()
    note: str = ''
    alike: tuple[str, ...] = ()

    def has_mark(self, keys: Iterable[str]) -> bool:
        return any(re.search(self.mark, key) for key in keys)


class Names(NamedTuple):
    """Where each key of a checkpoint goes.

    Attributes:
        backbone: Key -> name in the backbone.
        head: Key -> name in the classifier's head.
        left_out: Key -> why it is left out.
    """

    backbone: dict[str, str]
    head: dict[str, str]
    left_out: dict[str, str]


def rename_keys(source: Source, shapes: Shapes) -> Names:
    """Sort and rename the keys of a checkpoint of ``source``.

    Keys with mmpretrain's prefix 'backbone.' are taken from any source, since forks of the
    toolboxes have it.
    """
    prefix = 'backbone.' if any(key.startswith('backbone.') for key in shapes) else ''
    names = Names({}, {}, {})
    own: dict[str, Sequence[int]] = {}
    for key, shape in shapes.items():
        head = re.fullmatch(HEAD, key)
        if head and len(shape) == (2 if head[1] == 'weight' else 1):
            names.head[key] = f'head.fc.{head[1]}'
        elif not key.startswith(prefix):
            names.left_out[key] = 'not of the backbone'
        else:
            own[key[len(prefix) :]] = shape
    chains = rename_mobilenet_v2(own) or rename_deep_stem(own)
    for key in own:
        names.backbone[prefix + key] = _rename(source, chains.get(key, key))
    return names


def rename_deep_stem(shapes: Shapes) -> dict[str, str]:
    """The deep stem of timm, Res2Net v1b and others: the chain conv1, whose last norm is bn1."""
    if 'conv1.0.weight' not in shapes:
        return {}
    names = {key: re.sub(r'^conv1\.', 'stem.', key) for key in shapes if key.startswith('conv1.')}
    # After three convolutions, two norms and two ReLUs.
    names.update({key: f'stem.7.{key[4:]}' for key in shapes if key.startswith('bn1.')})
    return names


def _rename(source: Source, key: str) -> str:
    for pattern, name in source.renames.items():
        match = re.match(pattern, key)
        if match:
            return match.expand(name) + key[match.end() :]
    return key
