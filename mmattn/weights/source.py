"""What a source of checkpoints is: how its keys are called, and which attention it has."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.backbones.loading import Shapes

# The classifiers of all sources; in mmpretrain it is head.fc.
HEAD = r'(?:fc|last_linear|head|head\.fc|classifier(?:\.\d)?)\.(weight|bias)'


class CheckpointSource(NamedTuple):
    """One source of checkpoints: a repository or a library.

    Attributes:
        origin: Where its checkpoints come from.
        mark: Pattern of a key that tells the source from others.
        example: A key that fits ``mark``, for messages.
        renames: Pattern of a key -> its name in mmattn; the first that fits (from the start
            of the key) is used, and other keys keep their names. ``attn_inner`` and
            ``attn_outer`` stand for the slots where 'inner' and 'outer' attentions go. What
            the backbones know (``own_names``) is renamed already.
        attention: The attentions its slots may hold, by their registered names.
        arguments: Arguments of the attention that no shape tells.
        positions: Where a parameter-free attention is; the first of them that a block has.
        note: What the user should know.
        alike: Sources whose checkpoints it can read too, having the same names.
        commonness: The least common source whose mark fits is taken: 0 for a mark that only
            this source has, more for keys that others have as well.
        name: What ``--source`` takes; the name of its file.
    """

    origin: str
    mark: str
    example: str
    renames: Mapping[str, str] = {}
    attention: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = {}
    positions: tuple[str, ...] = ()
    note: str = ''
    alike: tuple[str, ...] = ()
    commonness: int = 0
    name: str = ''

    def has_mark(self, keys: Iterable[str]) -> bool:
        return any(re.search(self.mark, key) for key in keys)

    def rename(self, key: str) -> str:
        for pattern, name in self.renames.items():
            if match := re.match(pattern, key):
                return match.expand(name) + key[match.end() :]
        return key


class KeyGroups(NamedTuple):
    """The keys of a checkpoint by where they belong."""

    prefix: str  # of the backbone's keys
    backbone: dict[str, Sequence[int]]  # key without the prefix -> shape
    head: dict[str, str]  # key -> name in mmpretrain's head
    others: list[str]


def split_keys(shapes: Shapes) -> KeyGroups:
    """Tell the backbone from the rest.

    Keys with mmpretrain's prefix 'backbone.' are taken from any source, since forks of the
    toolboxes have it.
    """
    prefix = 'backbone.' if any(key.startswith('backbone.') for key in shapes) else ''
    groups = KeyGroups(prefix, {}, {}, [])
    for key, shape in shapes.items():
        head = re.fullmatch(HEAD, key)
        if head and len(shape) == (2 if head[1] == 'weight' else 1):
            groups.head[key] = f'head.fc.{head[1]}'
        elif key.startswith(prefix):
            groups.backbone[key.removeprefix(prefix)] = shape
        else:
            groups.others.append(key)
    return groups
