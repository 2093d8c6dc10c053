"""Which modules of a network an ``attention`` config means."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from mmattn.attention.entries import chosen_by_stage
from mmattn.utils.errors import InvalidArgument, InvalidValue, UnknownName

INPUT = ':input'
KEYS = ('at', 'position', 'stages', 'blocks', 'channels')


class Place(NamedTuple):
    """What is attended to: the output of a module, or its input."""

    module: str
    side: str = 'output'

    def __str__(self) -> str:
        return self.module + (INPUT if self.side == 'input' else '')


def find_places(network: nn.Module, patterns: str | Sequence[str]) -> list[Place]:
    """The places that shell patterns name, in the order of the network.

    Args:
        network: The network.
        patterns: Of names of modules; ``*``, ``?`` and ``[...]`` stay within a part between dots,
            ``**`` is any number of parts; with ':input' at its end it is what goes into the module.

    Raises:
        TypeError: If they are no strings.
        KeyError: If one names nothing; says what there is, and what is near.
    """
    given = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise InvalidArgument(f"at must be a pattern such as 'layer*.*.conv2', got {patterns!r}")
    names = [name for name, _ in network.named_modules() if name]
    places = {}
    for pattern in given:
        name, _, side = pattern.partition(':')
        if f':{side}' not in (':', INPUT):
            raise InvalidValue(f'at={pattern!r} may end in {INPUT!r}, not in {":" + side!r}')
        found = [one for one in names if re.fullmatch(_regex(name), one)]
        if not found:
            raise UnknownName(_nothing(pattern, name, names, network))
        places.update({Place(one, side or 'output'): names.index(one) for one in found})
    return sorted(places, key=places.get)


def _regex(pattern: str) -> str:
    parts = []
    for part in pattern.split('.'):
        if part == '**':
            parts.append(r'(?:[^.]+\.)*')
            continue
        tokens = re.findall(r'\[!?\]?[^\]]*\]|.', part)
        ways = {'*': '[^.]*', '?': '[^.]'}
        text = ''.join(
            f'[{"^" if token[1] == "!" else ""}{re.escape(token[1:-1].lstrip("!"))}]'.replace(
                r'\-', '-'
            )
            if len(token) > 1
            else ways.get(token, re.escape(token))
            for token in tokens
        )
        parts.append(rf'{text}\.')
    whole = ''.join(parts)
    if pattern.endswith('**'):
        return whole[: -len(r'(?:[^.]+\.)*')] + r'[^.]+(?:\.[^.]+)*'
    return whole.removesuffix(r'\.')


def general(name: str) -> str:
    """A name with every number as ``*``: what modules alike are called."""
    return re.sub(r'\d+', '*', name)


def _nothing(pattern: str, name: str, names: Sequence[str], network: nn.Module) -> str:
    kinds = list(dict.fromkeys(map(general, names)))
    near = difflib.get_close_matches(general(name), kinds, 5, 0.3)
    top = ', '.join(child for child, _ in network.named_children())
    return (
        f'at={pattern!r} names no module of {type(network).__name__}, whose parts are {top}. '
        f"Near: {', '.join(near) or 'nothing'}. 'python -m mmattn places "
        f"{type(network).__name__}' shows them all."
    )


def stage_of(place: Place) -> str:
    """The beginning of a name up to its first number: 'layer1', 'stages.0'."""
    match = re.match(r'(?:[^.\d]+\.)*[^.\d]*\d+|[^.]+', place.module)
    return match[0]


def block_of(place: Place) -> str:
    """The beginning of a name up to the last part that is a number."""
    match = re.match(r'(.*\.\d+)(?:\..*)?$', place.module)
    return match[1] if match else place.module


def choose(places: Sequence[Place], place: Mapping[str, Any]) -> list[Place]:
    """Those of the ``stages`` and ``blocks`` that a config asks for.

    Raises:
        ValueError: If these do not fit what was found, or leave nothing.
    """
    stages: dict[str, dict[str, list[Place]]] = {}
    for one in places:
        stages.setdefault(stage_of(one), {}).setdefault(block_of(one), []).append(one)
    wanted = place.get('stages')
    if wanted is None:
        wanted = (True,) * len(stages)
    elif (
        isinstance(wanted, str)
        or not isinstance(wanted, Sequence)
        or len(wanted) != len(stages)
        or any(not isinstance(flag, bool) for flag in wanted)
    ):
        raise InvalidValue(
            f'stages must be {len(stages)} bools, one for each of {", ".join(stages)}; '
            f'got {wanted!r}'
        )
    blocks = chosen_by_stage(place.get('blocks'), [len(stage) for stage in stages.values()])
    chosen = [
        one
        for stage, flag, numbers in zip(stages.values(), wanted, blocks, strict=True)
        for index, block in enumerate(stage.values())
        for one in block
        if flag and index in numbers
    ]
    if not chosen:
        raise InvalidValue(
            f'stages={place.get("stages")!r} and blocks={place.get("blocks")!r} leave none of '
            f'{len(places)} places'
        )
    return chosen
