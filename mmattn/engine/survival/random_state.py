"""The states of the random number generators of a process: read, set, kept, and made of a key."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's generators, and of the CUDA device in use.

    Made of tensors, numbers and lists, so that a checkpoint with it loads with weights_only.
    """
    version, python, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    state = dict(
        python=[version, list(python), gauss],
        numpy=[name, torch.from_numpy(keys.astype(np.int64)), *rest],
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Set what :func:`random_state` has returned; one without CUDA leaves CUDA's as it is."""
    version, python, gauss = state['python']
    random.setstate((version, tuple(python), gauss))
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    # Loaded with map_location, they are on another device.
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def seed_from(*key: Any) -> None:
    """Seed the generators of Python, NumPy and torch's CPU from numbers and words.

    Keys that differ give states that have nothing to do with each other.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=32).digest()
    random.seed(digest)
    np.random.seed(np.frombuffer(digest[:24], np.uint32))
    # torch.manual_seed would seed CUDA as well.
    torch.default_generator.manual_seed(int.from_bytes(digest[24:], 'little') >> 1)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """What draws random numbers within leaves none of its traces on those after it."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


class RandomStream:
    """Random numbers of its own: within ``with stream:`` they follow from its key.

    Each further use goes on where the one before has ended.
    """

    def __init__(self, *key: Any) -> None:
        self._key = key
        self._state: dict[str, Any] | None = None

    def __enter__(self) -> None:
        self._outer = random_state()
        if self._state is None:
            seed_from(*self._key)
        else:
            set_random_state(self._state)

    def __exit__(self, *error: object) -> None:
        self._state = random_state()
        set_random_state(self._outer)
