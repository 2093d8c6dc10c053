"""Training any config of the three toolboxes."""

import importlib.util
import os.path as osp
import shlex
import sys
import time
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.registry import RUNNERS
from mmengine.utils import import_modules_from_strings

from mmattn.engine import config as configs
from mmattn.engine import interrupt
from mmattn.engine.cli import end_start, say
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.hooks import (
    CheckpointFitHook,
    InterruptHook,
    NonFiniteLossHook,
    ProgressHook,
    RecordHook,
)
from mmattn.engine.machine import adapt_to_machine, infer_launcher, init_distributed
from mmattn.engine.resume import find_resumable
from mmattn.engine.runner import Runner
from mmattn.engine.summary import (
    RunSummary,
    describe_attention,
    describe_task,
    print_summary,
    write_summary,
)
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import Interrupted, UserError

# With dynamic loss scaling the scaler skips a step whose gradients overflow.
AMP_PATIENCE = 20


def train(
    config: str,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    demo: bool = False,
    amp: bool = False,
    resume: str | None = None,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    cfg_options: Sequence[str] = (),
    launcher: str = 'none',
    started: float | None = None,
) -> RunSummary:
    """Train a config and print a summary.

    Args:
        config: Path or name of a config.
        work_dir: Where logs and checkpoints go; default ``work_dirs/CONFIG``.
        data_root: Folder that replaces the config's own data root.
        demo: Train on a small generated data set instead.
        amp: Mixed precision.
        resume: 'auto' continues from the work dir's last checkpoint, a path from that.
        auto_scale_lr: Scale the learning rate by the batch size.
        seed: Of the random numbers; chosen by mmengine if None.
        cfg_options: ``key=value`` changes of the config.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        started: ``time.time()`` at the start of the command.

    Returns:
        The outcome; its metrics are those of the last validation.

    Raises:
        UserError: For anything the user can mend, before the model is built
            where possible.
        Interrupted: After Ctrl-C; says how to continue.
    """
    started = time.time() if started is None else started
    if demo and data_root:
        raise UserError('--demo generates its own data: it cannot be combined with --data-root.')
    cfg, notes = configs.load_config(config, cfg_options)
    require_toolbox(cfg)
    cfg.launcher = infer_launcher(launcher)
    configs.set_work_dir(cfg, work_dir, config, demo)
    if demo and seed is None and (cfg.get('randomness') or {}).get('seed') is None:
        seed = 0
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    if amp:
        configs.enable_amp(cfg)
    if auto_scale_lr:
        configs.enable_auto_scale_lr(cfg)
    if data_root:
        set_data_root(cfg, data_root)
    if not demo:
        check_data(cfg)
    notes += adapt_to_machine(cfg)
    init_distributed(cfg)
    if demo:
        cfg, demo_notes = _demo_config(cfg, seed or 0)
        notes += demo_notes
        check_data(cfg)
        notes += [note for note in adapt_to_machine(cfg) if note not in notes]
    notes += filter(None, [configs.set_save_best(cfg)])
    notes += choose_checkpoint(cfg, resume)

    say([f'config    {config}', f'task      {describe_task(cfg)}'])
    say([f'attention {describe_attention(cfg)}', f'work dir  {cfg.work_dir}'])
    say(f'note: {note}' for note in notes)

    runner, record, progress = build_runner(cfg, started)
    amp_on = 'AmpOptimWrapper' in str((cfg.get('optim_wrapper') or {}).get('type'))
    runner.register_hook(NonFiniteLossHook(AMP_PATIENCE if amp_on else 0))
    try:
        runner.train()
    except (Exception, KeyboardInterrupt) as error:
        if interrupt.requested() or isinstance(error, KeyboardInterrupt):
            raise Interrupted(_how_to_continue(runner)) from None
        raise
    finally:
        if progress is not None:
            progress.close()
    barrier()
    summary = _summarise(runner, record, config, cfg, started)
    if is_main_process():
        write_summary(summary)
        print_summary(summary, 'Training finished')
        if demo:
            _draw_demo(cfg, summary)
    return summary


def require_toolbox(cfg: Config) -> None:
    """Raise a :class:`UserError` if the toolbox that the config is for is not installed."""
    scope = cfg.get('default_scope')
    if scope in ('mmdet', 'mmseg', 'mmpretrain') and importlib.util.find_spec(scope) is None:
        raise UserError(
            f"the config is for {scope} (default_scope), which is not installed: 'python -m "
            "mmattn doctor' shows what is, and the command that installs the rest."
        )


def choose_checkpoint(cfg: Config, resume: str | None) -> list[str]:
    """Set ``resume`` and ``load_from`` of a config; return notes on the choice."""
    if resume is None:
        if cfg.get('load_from'):
            check_checkpoint(cfg.load_from, 'load_from')
        return []
    if resume != 'auto':
        check_checkpoint(resume, '--resume')
        cfg.resume, cfg.load_from = True, resume
        return [f'continues from {resume}.']
    path, notes = find_resumable(cfg.work_dir)
    if path is None:
        cfg.resume = False
        return [*notes, f'--resume: {cfg.work_dir} holds no checkpoint; the run starts anew.']
    cfg.resume, cfg.load_from = True, path
    return [*notes, f'continues from {path}.']


def build_runner(cfg: Config, started: float) -> tuple[Runner, RecordHook, ProgressHook | None]:
    """Build the runner of a config with mmattn's hooks."""
    import_modules_from_strings(**cfg.custom_imports)
    runner = Runner.from_cfg(cfg) if 'runner_type' not in cfg else RUNNERS.build(cfg)
    record = RecordHook(started)
    runner.register_hook(record)
    runner.register_hook(CheckpointFitHook())
    runner.register_hook(InterruptHook())
    progress = None
    if is_main_process() and sys.stdout.isatty():
        progress = ProgressHook()
        runner.register_hook(progress)
    end_start()
    return runner, record, progress


def _demo_config(cfg: Config, seed: int) -> tuple[Config, list[str]]:
    """Let the first process generate the demo's data, and give its config to all."""
    made = [None, None]
    if is_main_process():
        from mmattn.demo import make_demo

        made = list(make_demo(cfg, cfg.work_dir, seed=seed))
    broadcast_object_list(made)
    return made[0], made[1]


def _how_to_continue(runner: Runner) -> str:
    where = f'stopped by Ctrl-C at iteration {runner.iter} of {runner.max_iters}'
    path, _ = find_resumable(runner.work_dir)
    if path is None:
        return f'{where}, before the first checkpoint was written: there is nothing to continue.'
    if runner.distributed:
        return f'{where}. To continue from {osp.basename(path)}: the same command with --resume'
    words = [word for word in sys.argv if word != '--resume']
    return f'{where}. To continue from {osp.basename(path)}: {shlex.join([*words, "--resume"])}'


def _counted(number: int, what: str) -> str:
    return f'{number} {what}{"" if number == 1 else "s"}'


def _summarise(
    runner: Runner, record: RecordHook, config: str, cfg: Config, started: float
) -> RunSummary:
    hub = runner.message_hub
    save_best = (cfg.get('default_hooks') or {}).get('checkpoint', {}).get('save_best')
    counts = [_counted(runner.epoch, 'epoch'), _counted(runner.iter, 'iteration')]
    by_iter = 'Iter' in type(runner.train_loop).__name__
    progress = counts[1] if by_iter else ', '.join(counts)
    last = hub.get_info('last_ckpt') if 'last_ckpt' in hub.runtime_info else None
    best = hub.get_info('best_ckpt') if 'best_ckpt' in hub.runtime_info else None
    score = hub.get_info('best_score') if 'best_score' in hub.runtime_info else None
    return RunSummary(
        config=config,
        task=describe_task(cfg),
        attention=describe_attention(cfg),
        work_dir=runner.work_dir,
        seconds=time.time() - started,
        progress=progress,
        metrics=record.metrics,
        best_metric=save_best if isinstance(save_best, str) else None,
        best_score=score,
        best_checkpoint=_moved_here(best, runner.work_dir),
        last_checkpoint=_moved_here(last, runner.work_dir),
        first_iteration_seconds=record.first_iteration_seconds,
    )


def _moved_here(path: str | None, work_dir: str) -> str | None:
    """A resumed run knows the paths of where it began; prefer the file in this work dir."""
    if path is None:
        return None
    here = osp.join(work_dir, osp.basename(path))
    return here if osp.isfile(here) else path


def _draw_demo(cfg: Config, summary: RunSummary) -> None:
    from mmattn.demo import draw_predictions

    checkpoint = summary.best_checkpoint or summary.last_checkpoint
    if checkpoint is None:
        say(['no pictures of predictions: the run saved no checkpoint.'])
        return
    out_dir = osp.join(summary.work_dir, 'predictions')
    pictures = draw_predictions(cfg, checkpoint, out_dir)
    say([f'{len(pictures)} pictures of predictions beside the ground truth: {out_dir}'])
