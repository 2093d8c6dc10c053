"""mmengine's Runner with checkpoints written whole and a readable console."""

import logging
import os
import os.path as osp

from mmengine.dist import is_main_process
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import MMLogger
from mmengine.runner import Runner as EngineRunner

# First words of records that fill pages; the log file keeps them.
LONG_RECORDS = ('System environment:', 'Config:', 'Hooks will be executed')


class Runner(EngineRunner):
    """Runner for classification, detection and segmentation alike.

    A checkpoint appears under its name only once it is complete on disk, so a
    run killed while writing leaves the previous one intact.
    """

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """Write to a temporary file, flush it to disk, then rename (see mmengine's Runner)."""
        if not is_main_process():
            return
        if not isinstance(get_file_backend(out_dir), LocalBackend):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        part = f'.{filename}.part'
        super().save_checkpoint(out_dir, part, *args, **kwargs)
        with open(osp.join(out_dir, part), 'rb') as file:
            os.fsync(file.fileno())
        os.replace(osp.join(out_dir, part), osp.join(out_dir, filename))

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build mmengine's logger; pages of environment and config go to the log file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_is_short)
        return logger


def _is_short(record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip('\n-').startswith(LONG_RECORDS)
