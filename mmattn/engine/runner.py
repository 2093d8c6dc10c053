"""mmengine's Runner with checkpoints written whole, a readable console, and mmattn's hooks."""

import gc
import logging
import os
import os.path as osp
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner as EngineRunner
from mmengine.utils import import_modules_from_strings
from torch import nn
from torch.utils.data import DataLoader

from mmattn.datasets.reading import guard
from mmattn.engine.hooks import CheckpointFitHook
from mmattn.engine.interrupt import InterruptHook
from mmattn.engine.progress import ProgressHook
from mmattn.engine.survival import Survival, survival_hooks
from mmattn.registry import RUNNERS
from mmattn.utils.walk import iter_dicts, type_name

# First words of records that fill pages; the log file keeps them.
LONG_RECORDS = ('System environment:', 'Config:', 'Hooks will be executed')
# What mmengine's own hooks say about how they call mmengine; no log needs it.
INTERNAL_RECORDS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


@RUNNERS.register_module()
class Runner(EngineRunner):
    """Runner for classification, detection and segmentation alike.

    A checkpoint appears under its name only once it is complete on disk, so a
    run killed while writing leaves the previous one intact.

    Attributes:
        survival: The config's :class:`~mmattn.engine.survival.Survival`.
    """

    def __init__(self, *args, cfg: Config | dict | None = None, **kwargs) -> None:
        self.survival = Survival.from_cfg(cfg)
        super().__init__(*args, cfg=cfg, **kwargs)

    def register_hooks(self, *args, **kwargs) -> None:
        """Register those of the config (see mmengine's Runner), then those of survival."""
        super().register_hooks(*args, **kwargs)
        for hook in survival_hooks(self):
            self.register_hook(hook)

    @staticmethod
    def build_dataloader(*args, **kwargs) -> DataLoader:
        """Build mmengine's loader; what it reads is guarded against broken samples."""
        return guard(EngineRunner.build_dataloader(*args, **kwargs))

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """Write to a temporary file, flush it to disk, then rename (see mmengine's Runner)."""
        if not is_main_process():
            return
        if not isinstance(get_file_backend(out_dir), LocalBackend):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        part = f'.{filename}.part'
        super().save_checkpoint(out_dir, part, *args, **kwargs)
        # Windows flushes only what is open for writing, and renames only what is closed.
        with open(osp.join(out_dir, part), 'r+b') as file:
            os.fsync(file.fileno())
        os.replace(osp.join(out_dir, part), osp.join(out_dir, filename))

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes, in its memory format: DDP's buckets keep it."""
        hooks = iter_dicts(self.cfg.get('custom_hooks') or [])
        if any(type_name(hook) == 'ChannelsLastHook' for hook in hooks):
            model.to(memory_format=torch.channels_last)
        return super().wrap_model(model_wrapper_cfg, model)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        """Build mmengine's logger; pages of environment and config go to the log file only."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(lambda record: not _begins(record, INTERNAL_RECORDS))
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(lambda record: not _begins(record, LONG_RECORDS))
        return logger


def _begins(record: logging.LogRecord, words: tuple[str, ...]) -> bool:
    return record.getMessage().lstrip('\n-').startswith(words)


@contextmanager
def open_runner(cfg: Config, hooks: Sequence[Hook]) -> Iterator[EngineRunner]:
    """Build the runner of a config with the hooks of every run and those given.

    At the end the progress bar is taken away; after success the processes wait for each other.
    """
    import_modules_from_strings(**cfg.custom_imports)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    progress = ProgressHook()
    for hook in (CheckpointFitHook(), InterruptHook(), *hooks):
        runner.register_hook(hook)
    if is_main_process() and sys.stdout.isatty():
        runner.register_hook(progress)
    if not gc.isenabled():
        # The command turned it off; what the start has made stays, and is spared.
        gc.freeze()
        gc.enable()
    try:
        yield runner
    finally:
        progress.close()
    barrier()
