"""Training any config of the three toolboxes."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.distributed import init_distributed, say
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.prepare import (
    enable_amp,
    enable_auto_scale_lr,
    name_weight_decay,
    prepare,
    set_save_best,
    set_seed,
    set_survival,
    set_work_dir,
)
from mmattn.engine.resume import choose_checkpoint
from mmattn.engine.runner import open_runner
from mmattn.engine.summary import (
    SUMMARY_FILE,
    RecordHook,
    RunSummary,
    print_start,
    print_summary,
    summarise,
    write_summary,
)
from mmattn.engine.survival.saving import Unsaved
from mmattn.engine.survival.work_dir import claim, clear
from mmattn.utils.errors import UserError


class Demo(Protocol):
    """What makes a run a demo; :class:`mmattn.demo.Demo` is one."""

    def owns(self, work_dir: str) -> bool:
        """Whether the folder is that of an earlier demo, which may be overwritten."""

    def prepare(self, cfg: Config) -> Iterable[str]:
        """Change the config to one of generated data; return notes."""

    def finish(self, cfg: Config, summary: RunSummary) -> Iterable[str]:
        """Do what a demo ends with, in the first process; return lines for the user."""


def train(
    config: str,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    demo: Demo | None = None,
    amp: bool = False,
    resume: str | None = None,
    overwrite: bool = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    survival: Mapping[str, object] | None = None,
    cfg_options: Sequence[str] = (),
    launcher: str = 'none',
    started: float | None = None,
) -> RunSummary:
    """Train a config and print a summary.

    Args:
        config: Path or name of a config.
        work_dir: Where logs and checkpoints go; default ``work_dirs/CONFIG``.
        data_root: Folder that replaces the config's own data root.
        demo: Trains on a small generated data set instead.
        amp: Mixed precision.
        resume: 'auto' continues from the work dir's last checkpoint, a path from that.
        overwrite: Delete the checkpoints of an earlier run in the work dir, and begin anew.
        auto_scale_lr: Scale the learning rate by the batch size.
        seed: Of the random numbers; chosen by mmengine if None.
        survival: Changes of the config's key ``survival``, see
            :class:`mmattn.engine.survival.Survival`; a value of None is none.
        cfg_options: ``key=value`` changes of the config.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        started: ``time.time()`` at the start of the command.

    Returns:
        The outcome; its metrics are those of the last validation.

    Raises:
        UserError: For anything the user can mend, before the model is built
            where possible.
        Interrupted: After Ctrl-C, SIGTERM and the like; says how to continue.
    """
    record = RecordHook(started)
    if demo and data_root:
        raise UserError('--demo generates its own data: it cannot be combined with --data-root.')
    if resume and overwrite:
        raise UserError('--resume continues an earlier run, --overwrite deletes it: not both.')

    def may_be_used(folder: str) -> bool:
        return bool(resume or overwrite or (demo and demo.owns(folder)))

    held = ExitStack()
    steps = [
        partial(set_work_dir, work_dir=work_dir, name=config, demo=bool(demo)),
        seed is not None and partial(set_seed, seed=seed),
        partial(set_survival, options=survival or {}),
        amp and enable_amp,
        auto_scale_lr and enable_auto_scale_lr,
        data_root and partial(set_data_root, data_root=data_root),
        partial(init_distributed, launcher=launcher),
        partial(claim, held=held, may_be_used=may_be_used),
        demo and demo.prepare,
        check_data,
        adapt_to_machine,
        name_weight_decay,
        set_save_best,
        partial(choose_checkpoint, resume=resume),
    ]
    with held:
        cfg, notes = prepare(config, cfg_options, steps)
        print_start(config, cfg, notes)
        with open_runner(cfg, [record]) as runner:
            if not resume:
                say(clear(runner.work_dir))
            if is_main_process():
                # From here on the work dir is no longer that of an earlier run that came to its
                # end.
                Path(runner.work_dir, SUMMARY_FILE).unlink(missing_ok=True)
            unsaved = None
            try:
                runner.train()
            except Unsaved as error:  # the outcome is known all the same
                unsaved = error
        summary = summarise(config, runner, record)
        if is_main_process():
            print_summary(summary, 'Training finished')
            write_summary(summary)
        if unsaved is not None:
            raise unsaved
        if demo and is_main_process():
            say(demo.finish(cfg, summary))
    return summary
