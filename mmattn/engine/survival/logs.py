"""Logs on a disk that is full: what it refuses is said and counted, and ends no run."""

import logging
import os.path as osp
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend, Visualizer

from mmattn.utils.files import append_line, whole

# File -> what it lacks since the disk last took something.
_lacking: Counter[str] = Counter()


@contextmanager
def tolerated(path: str) -> Iterator[None]:
    """Say in one line that a log cannot be written, and how much it lacks once it can again."""
    try:
        yield
    except OSError as error:
        if not _lacking[path]:
            _say(f'{path} cannot be written: {error.strerror or error}; training goes on without.')
        _lacking[path] += 1
    else:
        if lacking := _lacking.pop(path, 0):
            _say(f'{path} is written again; {lacking} entries are missing in it.')


class WholeLines(LocalVisBackend):
    """mmengine's backend, whose files are whole, and which outlives a full disk."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        self.experiment  # noqa: B018  makes the folder
        with tolerated(self._config_save_file), whole(self._config_save_file) as part:
            config.dump(part)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self.experiment  # noqa: B018
        path = osp.join(self._img_save_dir, f'{name}_{step}.png')
        with tolerated(path), whole(path) as part:
            cv2.imwrite(str(part), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        with tolerated(file_path):
            append_line(file_path, mmengine.dump(value_dict, file_format=file_format))


def outlive_full_disk(visualizer: Visualizer) -> Visualizer:
    """Make the visualizer's local backends :class:`WholeLines`."""
    for backend in visualizer._vis_backends.values():
        if type(backend) is LocalVisBackend:
            backend.__class__ = WholeLines
    return visualizer


def quiet(handler: logging.FileHandler) -> None:
    """Have a log file that cannot be written say so once, not a traceback for each line."""
    handler.handleError = partial(_handle, handler, handler.handleError)


def _handle(handler: logging.FileHandler, otherwise: Any, record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
        otherwise(record)
        return
    with tolerated(handler.baseFilename):
        raise error


def _say(text: str) -> None:
    # Not by the logger, which may be what cannot be written.
    print(text, file=sys.stderr, flush=True)
