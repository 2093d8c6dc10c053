"""Reading ``attention`` configs: what every network that takes them has in common."""

import copy
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.attention.base import Attention
from mmattn.attention.names import attention_names, find_attention
from mmattn.utils.errors import InvalidArgument, InvalidValue

EVERY = re.compile(r'every (\d+)(?:st|nd|rd|th)')


class Entry(NamedTuple):
    """One attention of a config."""

    cls: type[Attention]
    arguments: dict[str, Any]  # of the class
    place: dict[str, Any]  # what says where it goes


def read_entries(attention: dict | Sequence[dict] | None, places: Sequence[str]) -> list[Entry]:
    """Check an ``attention`` argument before anything is built.

    Args:
        attention: None, a dict with ``type``, the attention's arguments and what says where it
            goes, or a list of such dicts; it is not changed.
        places: Keys of the latter.

    Raises:
        TypeError: If it is something else, or has an argument that the class does not take.
        KeyError: If ``type`` is not a registered attention.
    """
    if attention is None:
        return []
    entries = [attention] if isinstance(attention, Mapping) else attention
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        raise InvalidArgument(
            f"attention must be None, a dict such as dict(type='SCSA') or a list of dicts, "
            f'got {attention!r}'
        )
    return [_read(entry, places) for entry in entries]


def _read(entry: dict, places: Sequence[str]) -> Entry:
    if not isinstance(entry, Mapping) or 'type' not in entry:
        raise InvalidArgument(
            f"each attention must be a dict with a 'type', one of {', '.join(attention_names())}; "
            f'got {entry!r}'
        )
    arguments = copy.deepcopy(dict(entry))
    # Stamped by MMEngine on configs that are inherited from another package.
    arguments.pop('_scope_', None)
    cls = find_attention(arguments.pop('type'))
    place = {name: arguments.pop(name) for name in places if name in arguments}
    known = [name for name in inspect.signature(cls).parameters if name != 'in_channels']
    for name in arguments:
        if name not in known:
            raise InvalidArgument(
                f'{cls.__name__} takes no argument {name!r}; valid: {", ".join([*known, *places])}'
            )
    return Entry(cls, arguments, place)


def chosen_by_stage(blocks: Any, counts: Sequence[int]) -> list[set[int]]:
    """Which blocks of each stage get attention.

    Args:
        blocks: What :func:`chosen_blocks` takes, for every stage; or a list of it with an
            entry for each stage, not all of which are numbers.
        counts: How many blocks each stage has.

    Raises:
        ValueError: If ``blocks`` is something else, or names a block that no stage has.
    """
    listed = isinstance(blocks, list | tuple)
    if listed and any(type(block) is not int for block in blocks):
        if len(blocks) != len(counts):
            raise InvalidValue(
                f'blocks must be one choice for all stages or a list of {len(counts)}, one per '
                f'stage, got {blocks!r}'
            )
        pairs = zip(blocks, counts, strict=True)
        return [chosen_by_stage(own, [count])[0] for own, count in pairs]
    chosen = [chosen_blocks(blocks, count) for count in counts]
    for number in blocks if listed else [blocks] if isinstance(blocks, int) else ():
        if not any(-count <= number < count for count in counts):
            raise InvalidValue(
                f'blocks={blocks!r}: no block {number} in stages of '
                f'{", ".join(map(str, counts))} blocks; valid: {-max(counts)} to {max(counts) - 1}'
            )
    return chosen


def chosen_blocks(blocks: str | int | Sequence[int] | None, count: int) -> set[int]:
    """Which of a stage's blocks get attention.

    Args:
        blocks: 'first', 'last', 'every 2nd' (the second, fourth, ...), an index or several,
            from 0 or, negative, from the end; None for all. Indices that a shorter stage does
            not have are passed over.
        count: How many the stage has.

    Raises:
        ValueError: If ``blocks`` is something else.
    """
    if blocks is None:
        return set(range(count))
    if isinstance(blocks, str):
        every = EVERY.fullmatch(blocks)
        if every and int(every[1]):
            step = int(every[1])
            return set(range(step - 1, count, step))
        blocks = {'first': 0, 'last': -1}.get(blocks, blocks)
    numbers = [blocks] if isinstance(blocks, int) else blocks
    listed = isinstance(numbers, list | tuple)
    if not listed or not all(type(number) is int for number in numbers):
        raise InvalidValue(
            f"blocks must be 'first', 'last', 'every 2nd', an index or a list of indices, "
            f'got {blocks!r}'
        )
    return {number % count for number in numbers if -count <= number < count}
