"""One pass of a config's model over a split, every image handed to what counts the errors."""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.analysis.errors.base import Errors
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.evaluate import require_test
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.prepare import prepare, set_work_dir
from mmattn.engine.runner import open_runner
from mmattn.engine.summary import RecordHook, print_start
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import UserError

SPLITS = ('test', 'val')
# Toolbox -> module here and its class.
COUNTERS = {
    'mmdet': ('detection', 'DetectionErrors'),
    'mmseg': ('segmentation', 'SegmentationErrors'),
    'mmpretrain': ('classification', 'ClassificationErrors'),
}


class CountErrors(Hook):
    """Hands every image of a test to the errors of the config's toolbox.

    Attributes:
        errors: What has been counted, once the test has begun.
    """

    def __init__(self, scope: str, score: float, by: str = 'boxes') -> None:
        module, name = COUNTERS[scope]
        kind = getattr(import_module(f'mmattn.analysis.errors.{module}'), name)
        self._errors = partial(kind, score=score, by=by)
        self.errors: Errors | None = None

    def before_test(self, runner: Runner) -> None:
        dataset, metrics = runner.test_dataloader.dataset, runner.test_evaluator.metrics
        self.errors = self._errors(dataset, metrics)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for pixels, sample in zip(data_batch['inputs'], outputs, strict=True):
            self.errors.add(sample, pixels)


def count_errors(
    config: str,
    checkpoint: str,
    work_dir: Path,
    *,
    split: str = 'test',
    score: float = 0.3,
    by: str = 'boxes',
    data_root: str | None = None,
    cfg_options: Sequence[str] = (),
) -> tuple[Errors, dict[str, float]]:
    """Evaluate a checkpoint and count its errors.

    Args:
        config: Path or name of a config.
        checkpoint: File or URL; must fit the model.
        work_dir: For the log.
        split: 'test' or 'val': of which data loader and evaluator.
        score: From which score on a detection counts in confusions and pictures.
        by: 'boxes' or 'masks': what of a detector is judged.
        data_root, cfg_options: As those of :func:`mmattn.engine.evaluate.evaluate`.

    Returns:
        The errors, and the metrics of the config's own evaluator.

    Raises:
        UserError: For anything the user can mend.
    """
    record = RecordHook()
    check_checkpoint(checkpoint, 'checkpoint')
    steps = [
        partial(use_split, split=split),
        partial(require_counter, by=by),
        partial(set_work_dir, work_dir=str(work_dir), name=config),
        data_root and partial(set_data_root, data_root=data_root),
        partial(check_data, loaders=('test',)),
        adapt_to_machine,
    ]
    cfg, notes = prepare(config, cfg_options, steps)
    # A config that a run of several processes has left names their launcher.
    cfg.load_from, cfg.resume, cfg.launcher = checkpoint, False, 'none'
    # Another run in this process, of a baseline, must not get this one's logger and visualizer.
    cfg.experiment_name, cfg.visualizer = work_dir.name, None
    print_start(config, cfg, notes)
    counter = CountErrors(cfg.default_scope, score, by)
    with open_runner(cfg, [record, counter]) as runner:
        runner.test()
    return counter.errors, record.metrics


def use_split(cfg: Config, split: str) -> None:
    """Test with the loader and the evaluator of a split; raise UserError if there are none."""
    if split != 'test':
        for part in ('dataloader', 'evaluator'):
            cfg[f'test_{part}'] = cfg.get(f'{split}_{part}')
            if not cfg[f'test_{part}']:
                raise UserError(f'the config has no {split}_{part}: nothing to test.')
        cfg.test_cfg = {}
    require_test(cfg)


def require_counter(cfg: Config, by: str = 'boxes') -> None:
    """Raise UserError unless errors of the config's toolbox can be counted in this way."""
    scope = cfg.get('default_scope')
    if scope not in COUNTERS:
        raise UserError(
            f'errors are counted for {", ".join(COUNTERS)}, not for default_scope={scope!r}.'
        )
    if by != 'boxes' and scope != 'mmdet':
        raise UserError(f'--by {by} is for detectors; the config has default_scope={scope!r}.')
