"""mmengine's Runner with checkpoints written whole, a readable console, and mmattn's hooks."""

import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, loops
from mmengine.runner import Runner as EngineRunner
from mmengine.utils import import_modules_from_strings
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmattn.datasets.reading import guard
from mmattn.engine.hooks import CheckpointFitHook
from mmattn.engine.progress import ProgressHook
from mmattn.engine.resume import continue_from
from mmattn.engine.survival import Survival, survival_hooks
from mmattn.engine.survival.checkpoint_hook import lose_nothing
from mmattn.engine.survival.exact_resume import ExactResumeHook
from mmattn.engine.survival.logs import outlive_full_disk, quiet, tolerated
from mmattn.engine.survival.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmattn.engine.survival.saving import save_whole
from mmattn.engine.survival.signals import handled, shielded
from mmattn.engine.survival.stopping import SignalHook, heeded
from mmattn.engine.survival.work_dir import begun_before, locked
from mmattn.registry import RUNNERS
from mmattn.utils import loading  # noqa: F401  (what mmengine loads with)
from mmattn.utils.checkpoints import trusting
from mmattn.utils.errors import spare_tracebacks
from mmattn.utils.files import whole
from mmattn.utils.walk import iter_dicts, type_name

# First words of records that fill pages; the log file keeps them.
LONG_RECORDS = ('System environment:', 'Config:', 'Hooks will be executed')
# What mmengine's own hooks say about how they call mmengine; no log needs it.
INTERNAL_RECORDS = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')

EXACT_LOOPS = {
    loops.EpochBasedTrainLoop: EpochBasedTrainLoop,
    loops.IterBasedTrainLoop: IterBasedTrainLoop,
}
# What the runs of this process are told apart by.
_STARTED: set[str] = set()


@RUNNERS.register_module()
class Runner(EngineRunner):
    """Runner for classification, detection and segmentation alike.

    A checkpoint appears under its name only once it is complete on disk, so a
    run killed while writing leaves the previous one intact.

    Attributes:
        survival: The config's :class:`~mmattn.engine.survival.Survival`.
        saved: Paths of the checkpoints that this run has written, some of them deleted again.
        exact_resume: What brings the states into checkpoints, and back.
    """

    def __init__(self, *args, cfg: Config | dict | None = None, **kwargs) -> None:
        # The toolboxes' own commands let every error through.
        spare_tracebacks()
        self.survival = Survival.from_cfg(cfg)
        self.saved: list[str] = []
        self.exact_resume = ExactResumeHook()
        super().__init__(*args, cfg=cfg, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes and threads (see mmengine's Runner) and a time that no other run has.

        MMEngine finds message hub, visualizer and log file by it, and counts seconds: two runs
        that one process begins within a second would share them.
        """
        super().setup_env(env_cfg)
        started, count = self._timestamp, 0
        while self._timestamp in _STARTED:
            count += 1
            self._timestamp = f'{started}_{count}'
        _STARTED.add(self._timestamp)

    def register_hooks(self, *args, **kwargs) -> None:
        """Register those of the config (see mmengine's Runner), then those of survival."""
        super().register_hooks(*args, **kwargs)
        self.register_hook(self.exact_resume)
        # After EarlyStoppingHook and the like, whose states are in what it saves.
        self.hooks.sort(key=lambda hook: isinstance(hook, CheckpointHook))
        for hook in survival_hooks(self):
            self.register_hook(hook)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the loop (see mmengine's Runner); mmengine's own can begin within an epoch."""
        if isinstance(loop, dict) and ('type' in loop) != ('by_epoch' in loop):
            options = dict(loop)
            names = {True: 'EpochBasedTrainLoop', False: 'IterBasedTrainLoop'}
            kind = options.pop('type', None) or names[bool(options.pop('by_epoch'))]
            kind = LOOPS.get(kind) if isinstance(kind, str) else kind
            loop = dict(options, type=EXACT_LOOPS.get(kind, kind))
        return super().build_train_loop(loop)

    def resume(self, filename: str, *args, **kwargs) -> None:
        """Resume (see mmengine's Runner) with the random states and the place in the data."""
        super().resume(filename, *args, **kwargs)
        self.exact_resume.resume(self, filename)

    @staticmethod
    def build_dataloader(*args, **kwargs) -> DataLoader:
        """Build mmengine's loader; what it reads is guarded against broken samples.

        Its workers are ended by this process only.
        """
        loader = guard(EngineRunner.build_dataloader(*args, **kwargs))
        loader.worker_init_fn = partial(shielded, loader.worker_init_fn)
        return loader

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """Write it whole and verified (see mmengine's Runner), or raise SaveFailed everywhere.

        Every process calls it: the states of all are in the checkpoint.
        """
        self.exact_resume.collect(self)
        save_whole(super().save_checkpoint, out_dir, filename, *args, **kwargs)
        self.saved.append(os.path.join(out_dir, filename))

    def register_hook(self, *args, **kwargs) -> None:
        """Register a hook; mmengine's own CheckpointHook becomes one that loses nothing."""
        super().register_hook(*args, **kwargs)
        lose_nothing(self.hooks)

    def train(self) -> nn.Module:
        """Train (see mmengine's Runner), alone in the work dir; a signal ends it in good order."""
        with locked(self.work_dir) as notes, heeded(self):
            for note in notes + begun_before(self):
                self.logger.warning(note)
            return super().train()

    def val(self) -> dict:
        """Validate (see mmengine's Runner); a signal ends it after a batch."""
        with heeded(self):
            return super().val()

    def test(self) -> dict:
        """Test (see mmengine's Runner); a signal ends it after a batch."""
        with heeded(self):
            return super().test()

    def load_checkpoint(self, *args, **kwargs) -> dict:
        """Load (see mmengine's Runner); code in it runs only with ``survival.trust_checkpoint``."""
        with trusting(self.survival.trust_checkpoint):
            return super().load_checkpoint(*args, **kwargs)

    def _init_model_weights(self) -> None:
        with trusting(self.survival.trust_checkpoint):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Load, or resume from the newest sound checkpoint (see mmengine's Runner)."""
        with trusting(self.survival.trust_checkpoint):
            continue_from(self)
            super().load_or_resume()

    def dump_config(self) -> None:
        """Write the config, whole, into the work dir (see mmengine's Runner)."""
        if is_main_process():
            name = Path(self.cfg.filename or f'{self.timestamp}.py').name
            with tolerated(path := str(Path(self.work_dir, name))), whole(path) as part:
                self.cfg.dump(part)

    def build_visualizer(self, *args, **kwargs) -> Visualizer:
        """Build mmengine's visualizer; its files on this disk are whole, and never end a run."""
        return outlive_full_disk(super().build_visualizer(*args, **kwargs))

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
            elif isinstance(handler, logging.FileHandler):
                quiet(handler)
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
    for hook in (CheckpointFitHook(), *hooks):
        runner.register_hook(hook)
    if is_main_process() and sys.stdout.isatty():
        runner.register_hook(progress)
    if not gc.isenabled():
        # The command turned it off; what the start has made stays, and is spared.
        gc.freeze()
        gc.enable()
    if not isinstance(runner, Runner):
        runner.register_hook(SignalHook())
    try:
        with handled(), heeded(runner):
            yield runner
    finally:
        progress.close()
    barrier()
