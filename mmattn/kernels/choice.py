"""Which implementation of the kernels runs where, and why not a faster one.

Pure PyTorch is always there. C++ (the package ``mmattn-kernels``) serves CPUs, Triton
serves CUDA. ``MMATTN_KERNELS=pure`` turns both off; the default is ``auto``.
"""

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor

from mmattn import __version__
from mmattn.environment import installed
from mmattn.utils.errors import InvalidValue, one_line

VARIABLE = 'MMATTN_KERNELS'
MODES = ('auto', 'pure')
PURE, CPP, TRITON = 'pure', 'C++', 'Triton'

# torch.library.register_autograd is there from 2.4 on.
CAN_REGISTER = hasattr(torch.library, 'register_autograd')
CPP_DTYPES = (torch.float32, torch.bfloat16, torch.float64)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# What runs Triton's kernels on a CPU, slowly: how the tests see them without a GPU.
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


def _checked(mode: str) -> str:
    if mode not in MODES:
        raise InvalidValue(f'{VARIABLE} must be one of {", ".join(MODES)}, got {mode!r}')
    return mode


# What `using` sets instead of the variable.
_forced: str | None = None


def mode() -> str:
    """'auto' or 'pure', as ``MMATTN_KERNELS`` or :func:`using` says.

    Raises:
        ValueError: If ``MMATTN_KERNELS`` is something else.
    """
    return _forced or _wanted()


@functools.cache
def _wanted() -> str:
    return _checked(os.environ.get(VARIABLE) or 'auto')


@contextmanager
def using(mode: str) -> Iterator[None]:
    """Within it, ``'pure'`` or ``'auto'`` whatever ``MMATTN_KERNELS`` says; for all threads.

    Raises:
        ValueError: If ``mode`` is neither.
    """
    global _forced
    before, _forced = _forced, _checked(mode)
    try:
        yield
    finally:
        _forced = before


def implementation(x: Tensor) -> str:
    """What runs on a map like ``x``: 'pure', 'C++' or 'Triton'."""
    if (_forced or _wanted()) == PURE:  # mode(), without a call
        return PURE
    if INTERPRETED and x.is_cpu and x.dtype in TRITON_DTYPES and not why_no_triton():
        return TRITON
    if x.is_cpu and x.dtype in CPP_DTYPES and not why_no_cpp():
        return CPP
    if x.is_cuda and x.dtype in TRITON_DTYPES and not why_no_triton():
        return TRITON
    return PURE


@functools.cache
def why_no_cpp() -> str:
    """Why the C++ kernels do not run; '' if they do."""
    if not CAN_REGISTER:
        return f'the kernels need torch 2.4 or newer, this is {torch.__version__}'
    if find_spec('mmattn_kernels') is None:
        return 'the package mmattn-kernels is not installed'
    # A build folder on the path has no version.
    version = installed(['mmattn-kernels']).get('mmattn-kernels', __version__)
    if version != __version__:
        return f'mmattn-kernels {version} is not for this mmattn, {__version__}'
    try:
        import mmattn_kernels

        return mmattn_kernels.load()
    except Exception as error:  # whatever a broken package raises
        return f'mmattn-kernels does not import: {one_line(error)}'


def vector_level() -> str:
    """The vector instructions that the C++ kernels use here, such as 'AVX-512'."""
    return torch.ops.mmattn_cpu.level()


@functools.cache
def why_no_triton() -> str:
    """Why the Triton kernels do not run; '' if they do."""
    if not CAN_REGISTER:
        return f'the kernels need torch 2.4 or newer, this is {torch.__version__}'
    if find_spec('triton') is None:
        return 'triton is not installed'
    if INTERPRETED:
        return ''
    if not torch.cuda.is_available():
        return 'torch sees no CUDA device'
    major, minor = torch.cuda.get_device_capability()
    if major < 7:
        return f'Triton needs compute capability 7.0, this GPU has {major}.{minor}'
    try:
        from mmattn.kernels.triton import tiles

        # A kernel's first start takes a C compiler and Python's headers.
        tiles.add_up(torch.ones(2, 1, device='cuda'), torch.float32)
    except Exception as error:
        return f'triton starts no kernel: {one_line(error)}'
    return ''


@functools.cache
def found(way: str, file: str, name: str) -> Callable | None:
    """The function of an implementation; None where it has not got this operator."""
    if way == CPP:
        packet = getattr(torch.ops.mmattn_cpu, name, None)
        return packet and packet.default
    if way == TRITON and find_spec(f'mmattn.kernels.triton.{file}'):
        return getattr(importlib.import_module(f'mmattn.kernels.triton.{file}'), name, None)
    return None
