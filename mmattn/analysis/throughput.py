"""Measuring code against code: time, saved activations, peak memory. Imports nothing but torch.

What is compared runs in turns in one process, so that another load of the machine meets all
alike; ratios are taken within a round.
"""

import ctypes
import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from mmattn.environment import processor

# A sample lasts at least this long (seconds): shorter calls are repeated.
SAMPLE = 0.01
# glibc's mallopt(3)
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Timing:
    """Seconds of one call (or a ratio of them): median and quartiles of the rounds."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...] = ()

    @classmethod
    def of(cls, samples: Iterable[float]) -> 'Timing':
        samples = tuple(samples)
        if len(samples) == 1:
            return cls(samples[0], samples[0], samples[0], samples)
        low, median, high = statistics.quantiles(samples, n=4, method='inclusive')
        return cls(median, low, high, samples)

    def speed(self, plain: 'Timing') -> 'Timing':
        """Throughput relative to ``plain``, round by round; above 1 is faster."""
        return Timing.of(a / b for a, b in zip(plain.samples, self.samples, strict=True))


def alternate(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    warm_up: int = 2,
    limit: float | None = None,
    sample: float = SAMPLE,
) -> dict[str, Timing]:
    """Time functions in turns, on a GPU to the end of what they have started there.

    Args:
        candidates: Name -> function without arguments.
        rounds: In each, every function is a sample; every other round runs backwards.
        warm_up: Calls of each function before.
        limit: No further round after this many seconds, but three rounds at least.
        sample: A sample lasts this many seconds or longer: shorter calls are repeated in it.

    Returns:
        Name -> seconds of one call.
    """
    calls, samples = {}, {name: [] for name in candidates}
    for name, function in candidates.items():
        if warm_up:
            _seconds(function, warm_up)
        # The first call may have compiled something, and any may be interrupted.
        once = _seconds(function, 1)
        if once < 10 * sample:
            once = min(once, *(_seconds(function, 1) for _ in range(3)))
        calls[name] = max(1, round(sample / max(once, 1e-7)))
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        for turn in range(rounds):
            names = list(candidates) if turn % 2 == 0 else list(reversed(candidates))
            for name in names:
                samples[name].append(_seconds(candidates[name], calls[name]))
            if limit is not None and turn >= 2 and time.perf_counter() - started > limit:
                break
    finally:
        if collects:
            gc.enable()
    return {name: Timing.of(values) for name, values in samples.items()}


def _seconds(function: Callable[[], object], calls: int) -> float:
    """Seconds of one of several calls."""
    _synchronize()
    started = time.perf_counter()
    for _ in range(calls):
        function()
    _synchronize()
    return (time.perf_counter() - started) / calls


def _synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def saved_bytes(forward: Callable[[], object], without: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of ``forward``, each storage once.

    Args:
        forward: A forward pass; a whole training step gives the same.
        without: Tensors that do not count, such as a model's parameters.
    """
    ignored = {tensor.untyped_storage().data_ptr() for tensor in without}
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        # Held, so that no other storage gets its address.
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        # Detached: an operator that keeps its own output would hold itself, for ever.
        return tensor.detach()

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    total = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in ignored)
    del result
    return total


def peak_memory(function: Callable[[], object]) -> int:
    """Bytes that a call takes at most beyond what was allocated before it.

    On a GPU what torch's allocator says; on a CPU from the profiler's allocations.
    """
    if torch.cuda.is_initialized():
        function()  # what the first call sets up stays, such as workspaces of cuBLAS
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        function()
    now = peak = 0
    for event in profile.kineto_results.events():
        if event.name() == '[memory]':
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def steady_allocator() -> bool:
    """Let glibc's malloc keep what is freed instead of giving it back to the system.

    Else every large map is mapped anew, and its page faults swing a CPU's timings several
    times over. For the whole process; False where there is no glibc.
    """
    if not sys.platform.startswith('linux') or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def release_memory() -> None:
    """Give back to the system what no network holds any more; they hold themselves in cycles."""
    gc.collect()
    if sys.platform.startswith('linux') and platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)


def machine(device: str | torch.device = 'cpu') -> dict[str, object]:
    """What a table of timings has to say of where it was measured."""
    return {
        'device': processor(device),
        'threads': torch.get_num_threads(),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'cuda': torch.version.cuda,
        # Processes that ran in the last minute: timings need an idle machine.
        'load': round(os.getloadavg()[0], 1),
        'date': time.strftime('%Y-%m-%d'),
    }
