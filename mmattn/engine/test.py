"""Evaluating a checkpoint with any config of the three toolboxes."""

import os.path as osp
import time
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process

from mmattn.engine import config as configs
from mmattn.engine.cli import say
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.hooks import PictureHook
from mmattn.engine.machine import adapt_to_machine, infer_launcher, init_distributed
from mmattn.engine.summary import RunSummary, describe_attention, describe_task, print_summary
from mmattn.engine.train import build_runner, require_toolbox
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import UserError


def test(
    config: str,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    data_root: str | None = None,
    cfg_options: Sequence[str] = (),
    launcher: str = 'none',
    started: float | None = None,
) -> RunSummary:
    """Evaluate a checkpoint on the config's test data and print its metrics.

    Args:
        config: Path or name of a config.
        checkpoint: File or URL; must fit the model.
        work_dir: Where logs go; default ``work_dirs/CONFIG``.
        out: Pickle file (.pkl, .pickle) for the predictions.
        show_dir: Folder for pictures of the predictions.
        data_root: Folder that replaces the config's own data root.
        cfg_options: ``key=value`` changes of the config.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        started: ``time.time()`` at the start of the command.

    Returns:
        The outcome with the test metrics.

    Raises:
        UserError: For anything the user can mend.
    """
    started = time.time() if started is None else started
    check_checkpoint(checkpoint, 'checkpoint')
    cfg, notes = configs.load_config(config, cfg_options)
    require_toolbox(cfg)
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise UserError(f'{config} has no test_dataloader or no test_evaluator: nothing to test.')
    cfg.launcher = infer_launcher(launcher)
    configs.set_work_dir(cfg, work_dir, config)
    if data_root:
        set_data_root(cfg, data_root)
    if out:
        dump_predictions(cfg, out)
    check_data(cfg, ('test',))
    notes += adapt_to_machine(cfg)
    init_distributed(cfg)
    # The checkpoint holds every weight; fetching the backbone's would be wasted.
    cfg.load_from, cfg.resume = checkpoint, False
    say(f'note: {note}' for note in notes)

    runner, record, progress = build_runner(cfg, started)
    if show_dir:
        runner.register_hook(PictureHook(osp.abspath(show_dir)))
    try:
        runner.test()
    finally:
        if progress is not None:
            progress.close()
    barrier()
    summary = RunSummary(
        config=config,
        task=describe_task(cfg),
        attention=describe_attention(cfg),
        work_dir=runner.work_dir,
        seconds=time.time() - started,
        metrics=record.metrics,
    )
    if is_main_process():
        print_summary(summary, f'Test of {checkpoint}')
        written = [('predictions', out), ('pictures', show_dir)]
        say(f'{what}: {path}' for what, path in written if path)
    return summary


def dump_predictions(cfg: Config, out: str) -> None:
    """Add an evaluator that pickles the predictions to ``out``."""
    if not out.endswith(('.pkl', '.pickle')):
        raise UserError(f'--out {out!r} must end in .pkl or .pickle.')
    # mmdet's own encodes masks; the plain one would store them as images
    kind = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
    dump = ConfigDict(type=kind, out_file_path=out)
    evaluators = cfg.test_evaluator
    if isinstance(evaluators, dict) and 'metrics' in evaluators:
        evaluators['metrics'] = [*evaluators['metrics'], dump]
    elif isinstance(evaluators, dict):
        cfg.test_evaluator = [evaluators, dump]
    else:
        cfg.test_evaluator = [*evaluators, dump]
