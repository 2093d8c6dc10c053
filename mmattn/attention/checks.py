"""Checks of arguments: the error names the attention, the value and what is valid."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmattn.kernels.primitive import seen_through
from mmattn.utils.errors import InvalidValue


def require(attention: nn.Module, valid: bool, message: str) -> None:
    if not valid:
        raise InvalidValue(f'{type(attention).__name__}: {message}')


def positive(attention: nn.Module, name: str, value: int, otherwise: str = '') -> None:
    valid = isinstance(value, int) and value > 0
    require(attention, valid, f'{name} must be a positive integer{otherwise}, got {value!r}')


def odd(attention: nn.Module, name: str, value: int) -> None:
    """Kernels are odd, so that 'same' padding keeps the size of the map."""
    valid = isinstance(value, int) and value > 0 and value % 2 == 1
    require(attention, valid, f'{name} must be a positive odd integer, got {value!r}')


def several(
    attention: nn.Module, name: str, value: Sequence[int], least: int = 1, most: int | None = None
) -> tuple[int, ...]:
    """``value`` as a tuple, a sequence of as many numbers."""
    numbers = isinstance(value, list | tuple)
    fits = numbers and least <= len(value) <= (most or len(value))
    count = str(least) if most == least else f'{least} or more'
    require(attention, fits, f'{name} must be a tuple of {count} numbers, got {value!r}')
    return tuple(value)


def choice(attention: nn.Module, name: str, value: str, choices: tuple[str, ...]) -> str:
    """``value``, one of ``choices``."""
    valid = ', '.join(choices)
    require(attention, value in choices, f'{name} must be one of {valid}, got {value!r}')
    return value


def multiple(attention: nn.Module, factor: int, problem: str, otherwise: str = '') -> None:
    """``in_channels`` is a multiple of ``factor``; otherwise the nearest that are."""
    channels = attention.in_channels
    below = channels // factor * factor
    nearest = f'{below} or {below + factor}' if below else factor
    message = f'in_channels={channels} {problem}; nearest valid: {nearest}{otherwise}'
    require(attention, channels % factor == 0, message)


def groups(attention: nn.Module, name: str, value: int | str, most: int, parts: int = 1) -> int:
    """Groups of channels, each of which has ``parts`` equal parts.

    Returns:
        ``value``; for 'auto' the largest valid number up to ``most``.
    """
    if value == 'auto':
        fitting = range(1, most + 1)
        value = max(n for n in fitting if attention.in_channels % (parts * n) == 0)
    positive(attention, name, value, " or 'auto'")
    factor = parts * value
    label = f'{name}={factor}' if parts == 1 else f'{parts} * {name}={factor}'
    multiple(attention, factor, f'is not a multiple of {label}', f", or {name}='auto'")
    return value


def dims(attention: nn.Module, x: Tensor) -> None:
    """The input is a sequence or a volume, of an attention that takes them."""
    valid = '(N, C, L), (N, C, H, W) or (N, C, D, H, W)' if attention.any_dims else '(N, C, H, W)'
    fits = attention.any_dims and x.dim() in (3, 5)
    require(attention, fits, f'the input must be {valid}, got {tuple(x.shape)}')


def pairs(attention: nn.Module, x: Tensor, count: int, advice: str) -> None:
    """``count`` pairs of places are at most the square of ``max_positions``.

    Not in what is compiled or exported, where a size is a symbol.
    """
    most = attention.max_positions
    if most is None or seen_through(x) or count <= most**2:
        return
    height, width = x.shape[2:]
    gigabytes = count * x.element_size() / 2**30
    require(
        attention,
        False,
        f'a map of {height} x {width} has {height * width} positions and {count} pairs of them, '
        f'{gigabytes:.1f} GiB an image in {x.dtype} where they are written out; '
        f'max_positions={most} allows {most**2} pairs. {advice}, or raise max_positions',
    )
