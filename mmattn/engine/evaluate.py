"""Evaluating a checkpoint with any config of the three toolboxes."""

import os.path as osp
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process

from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.distributed import init_distributed, say
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.pictures import Pictures
from mmattn.engine.prepare import prepare, set_work_dir
from mmattn.engine.runner import open_runner
from mmattn.engine.summary import RecordHook, RunSummary, print_start, print_summary, summarise
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import UserError
from mmattn.utils.files import told, whole


def evaluate(
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
        work_dir, data_root, cfg_options, launcher, started: As those of
            :func:`mmattn.engine.train.train`.
        out: Pickle file (.pkl, .pickle) for the predictions.
        show_dir: Folder for pictures of the predictions.

    Returns:
        The outcome with the test metrics.

    Raises:
        UserError: For anything the user can mend, before the model is built
            where possible.
    """
    record = RecordHook(started)
    check_checkpoint(checkpoint, 'checkpoint')
    steps = [
        require_test,
        partial(set_work_dir, work_dir=work_dir, name=config),
        data_root and partial(set_data_root, data_root=data_root),
        out and partial(dump_predictions, out=out),
        partial(init_distributed, launcher=launcher),
        partial(check_data, loaders=('test',)),
        adapt_to_machine,
    ]
    cfg, notes = prepare(config, cfg_options, steps)
    # The checkpoint holds every weight; fetching the backbone's would be wasted.
    cfg.load_from, cfg.resume = checkpoint, False
    print_start(config, cfg, notes)
    pictures = [Pictures(cfg, osp.abspath(show_dir))] if show_dir else []
    with open_runner(cfg, [record, *pictures]) as runner, ExitStack() as kept:
        if out and is_main_process():
            kept.enter_context(told(out))
            part = kept.enter_context(whole(out))
            runner.test_evaluator.metrics[-1].out_file_path = str(part)
        runner.test()
    summary = summarise(config, runner, record)
    if is_main_process():
        print_summary(summary, f'Test of {checkpoint}')
        written = [('predictions', out), ('pictures', show_dir)]
        say(f'{what}: {path}' for what, path in written if path)
    return summary


def require_test(cfg: Config) -> None:
    """Raise a :class:`UserError` unless the config says what to test with."""
    missing = [key for key in ('test_dataloader', 'test_evaluator') if not cfg.get(key)]
    if missing:
        raise UserError(f'the config has no {" and no ".join(missing)}: nothing to test.')


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
    else:
        given = [evaluators] if isinstance(evaluators, dict) else evaluators
        cfg.test_evaluator = [*given, dump]
