"""What a network's modules give: channels, memory layout and size, from a run without memory.

The network runs in torch's fake mode, on shapes without numbers; where an operator cannot do
that, on a small image of zeros.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

from mmattn.insertion.patterns import Place
from mmattn.utils.errors import InvalidValue, one_line

# Of different shape, so that the axis of the channels is the one that does not change.
SIZES = ((224, 224), (256, 320), (64, 64), (32, 32))
LENGTHS, VOLUMES = ((224,), (320,)), ((32, 64, 64), (48, 96, 80))
# Class and distillation tokens in front of those of the map; more is no map.
MOST_EXTRA = 16


@dataclass
class Seen:
    """What passed a place in the runs."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)  # one of each run
    calls: int = 0  # in the last run
    hint: bool = False  # whether the module is told the map's size
    problem: str = ''


@dataclass(frozen=True)
class Layout:
    """How a map lies in a tensor.

    ``kind`` is 'NCHW', 'NHWC', 'NLC' (tokens in rows), 'NCL' or 'NCDHW'. Of tokens the first
    ``extra`` are of no place, and the map has a ``stride``-th of the image's sides, rounded up.
    """

    kind: str
    channels: int
    stride: int = 1
    extra: int = 0


def example_inputs(network: nn.Module) -> list[tuple]:
    """Images of several sizes with as many channels as the network's first convolution takes.

    Sequences or volumes where that is one over a single axis, or over three.
    Then with 3: in front of that of YOLOX's CSPDarknet, every fourth pixel goes to its own channel.
    """
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    conv = next((m for m in network.modules() if isinstance(m, kinds)), None)
    usual = {1: LENGTHS, 3: VOLUMES}.get(len(conv.kernel_size) if conv is not None else 2, SIZES)
    counts = dict.fromkeys([conv.in_channels, 3] if conv is not None else [3])
    own = getattr(network, 'img_size', None)
    own = [] if own is None else [tuple(own) if isinstance(own, Sequence) else (own, own)]
    sizes = dict.fromkeys([*own, *usual])
    return [(torch.zeros(1, channels, *size),) for channels in counts for size in sizes]


def observe(
    network: nn.Module, places: Sequence[Place], inputs: Sequence[tuple] | None = None
) -> tuple[dict[Place, Seen], list[tuple[int, int]]]:
    """Run a network in eval mode, and look at places; its state stays as it is.

    Args:
        network: The network.
        places: Where to look.
        inputs: Arguments of one run each; default :func:`example_inputs`. The first two that it
            takes are run.

    Returns:
        What was seen, and height and width of the inputs of both runs.

    Raises:
        ValueError: If it runs with none of them.
    """
    seen = {place: Seen() for place in places}
    sizes, problem, ways = [], '', (_fake, _real)
    for arguments in example_inputs(network) if inputs is None else inputs:
        for way in ways:
            before = [len(one.shapes) for one in seen.values()]
            try:
                with _looking(network, seen), _at_rest(network):
                    way(network, arguments)
            except Exception as error:  # whatever a network of others raises
                problem = one_line(error)
                for one, count in zip(seen.values(), before, strict=True):
                    del one.shapes[count:]
            else:
                sizes.append(tuple(tensors_of(arguments)[0].shape[2:]))
                ways = (way,)
                break
        if len(sizes) == 2:
            break
    if not sizes:
        raise InvalidValue(
            f'{type(network).__name__} cannot be run to find its channels ({problem}); give '
            'channels=... in the attention'
        )
    return seen, sizes


def _fake(network: nn.Module, arguments: tuple) -> None:
    # Without a GPU, fake mode leaves torch a CUDA device that is none. A backward pass that is the
    # process's first starts a thread for each device, and no fork of the process could have one.
    torch.zeros((), requires_grad=True).backward()
    # It logs what it then raises.
    logger = logging.getLogger('torch._subclasses.fake_tensor')
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            network(*tree_map_only(Tensor, mode.from_tensor, arguments))
    finally:
        logger.setLevel(level)


def _real(network: nn.Module, arguments: tuple) -> None:
    network(*arguments)


@contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    training = network.training
    # Some take tables of another size into their buffers, for images of another size.
    before = {module: (module.training, dict(module._buffers)) for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        network.train(training)
        # What is in eval mode for good is not what train() knows of.
        for module, (mode, buffers) in before.items():
            module.training = mode
            module._buffers.clear()
            module._buffers.update(buffers)


@contextmanager
def _looking(network: nn.Module, seen: Mapping[Place, Seen]) -> Iterator[None]:
    handles = []
    for place, one in seen.items():
        one.calls = 0
        module = network.get_submodule(place.module)
        handles.append(module.register_forward_hook(_look(one, place.side), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _look(seen: Seen, side: str) -> Callable:
    def hook(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        seen.calls += 1
        found = tensors_of(args if side == 'input' else output)
        if len(found) != 1:
            seen.problem = f'gives {len(found)} tensors instead of one'
            return
        shape = tuple(found[0].shape)
        if seen.calls == 1:
            seen.shapes.append(shape)
        elif seen.shapes[-1] != shape:
            seen.problem = f'is called {seen.calls} times in a pass, with maps of several shapes'
        seen.hint = size_hint(args, kwargs, shape) is not None

    return hook


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors of a module's inputs or output, from lists and tuples too."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in tensors_of(part)]
    return []


def size_hint(args: tuple, kwargs: Mapping, shape: Sequence[int]) -> tuple[int, int] | None:
    """Height and width among a module's arguments, if they are those of (N, L, C) tokens."""
    if len(shape) != 3:
        return None
    pairs = [value for value in (*args, *kwargs.values()) if isinstance(value, Sequence)]
    pairs += zip(args, args[1:], strict=False)
    for pair in pairs:
        ints = len(pair) == 2 and all(isinstance(one, int) for one in pair)
        if ints and math.prod(pair) == shape[1]:
            return tuple(pair)
    return None


def layout_of(place: Place, seen: Seen, sizes: Sequence[tuple[int, int]]) -> Layout:
    """How the map lies that passes a place.

    Args:
        place: The place.
        seen: What :func:`observe` saw there.
        sizes: Height and width of the images of its runs.

    Raises:
        ValueError: If it is no map.
    """
    what = f'attention cannot be put at {place}'
    if seen.problem:
        raise InvalidValue(f'{what}: it {seen.problem}; choose a module inside of it')
    if not seen.shapes:
        raise InvalidValue(f'{what}: the network does not call it; choose a module inside of it')
    first, last = seen.shapes[0], seen.shapes[-1]
    changed = [
        axis for axis, pair in enumerate(zip(first, last, strict=True)) if len(set(pair)) > 1
    ]
    if len(first) == 4:
        last_is_channels = 3 not in changed and 1 in changed
        if not changed:  # only one size was run, of a square, or the maps are all of one size
            last_is_channels = first[1] == first[2] != first[3]
        kind, channels = ('NHWC', first[3]) if last_is_channels else ('NCHW', first[1])
        side = first[1] if last_is_channels else first[2]
        return Layout(kind, channels, max(1, round(sizes[0][0] / side)))
    if len(first) == 3:
        if 2 in changed:
            return Layout('NCL', first[1])
        return _tokens(what, seen, sizes)
    if len(first) == 5:
        return Layout('NCDHW', first[1])
    raise InvalidValue(f'{what}: {first} is no map (N, C, H, W), nor tokens (N, L, C)')


def _tokens(what: str, seen: Seen, sizes: Sequence[tuple[int, int]]) -> Layout:
    lengths = [shape[1] for shape in seen.shapes]
    for extra in range(MOST_EXTRA + 1):
        for stride in range(1, 129):
            counts = [math.prod(map_size(size, stride)) for size in sizes]
            if all(length - extra == count for length, count in zip(lengths, counts, strict=False)):
                return Layout('NLC', seen.shapes[0][2], stride, extra)
    if seen.hint:
        return Layout('NLC', seen.shapes[0][2])
    raise InvalidValue(f'{what}: its {lengths[0]} tokens are not those of a map of {sizes[0]}')


def map_size(image: Sequence[int], stride: int) -> tuple[int, int]:
    """Height and width of the map of an image, whose patches cover its end too."""
    return tuple(math.ceil(side / stride) for side in image)
