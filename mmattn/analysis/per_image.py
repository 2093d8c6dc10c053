"""A score for each image of a run's validation data, so that runs are compared image by image."""

import os.path as osp
import tempfile
from functools import partial
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.analysis.errors.run import CountErrors, require_counter, use_split
from mmattn.analysis.runs import Run, write_per_image
from mmattn.engine.data_check import check_data
from mmattn.engine.machine import adapt_to_machine
from mmattn.engine.prepare import prepare, set_work_dir
from mmattn.engine.runner import open_runner
from mmattn.utils.checkpoints import check_checkpoint
from mmattn.utils.errors import UserError

# From which score on a detection counts.
SURE = 0.3


class ScoreImages(Hook):
    """Scores every image of a test from its own confusion matrix.

    Attributes:
        scores: Image -> per cent. Classifiers: 100 if it is right, else 0. Segmenters: mean IoU
            of the classes in the image. Detectors: F1 of boxes at an IoU of 0.5.
    """

    def __init__(self, scope: str, data_root: str) -> None:
        self._scope, self._root = scope, data_root
        self.scores: dict[str, float] = {}

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for pixels, sample in zip(data_batch['inputs'], outputs, strict=True):
            counter = CountErrors(self._scope, SURE)
            counter.before_test(runner)
            errors, number = counter.errors, len(self.scores)
            errors.number = number  # the place of the image in the data set
            errors.add(sample, pixels)
            path = sample.metainfo.get('img_path')
            inside = path and osp.abspath(path).startswith(osp.abspath(self._root) + osp.sep)
            name = osp.relpath(path, self._root) if inside else path or f'image {number}'
            self.scores[name] = score(errors.matrix, len(errors.classes))


def score(matrix: np.ndarray, classes: int) -> float:
    """The score of one image in per cent; 100 where there is nothing to find and nothing found.

    Args:
        matrix: Counts, the annotated class by row; with one more row and column, the background,
            the F1 of its objects, otherwise the mean IoU of the classes that occur.
        classes: How many there are.
    """
    hits = matrix.diagonal()[:classes]
    rows, columns = matrix[:classes].sum(1), matrix[:, :classes].sum(0)
    if len(matrix) > classes:
        both = rows.sum() + columns.sum()
        return float(200 * hits.sum() / both) if both else 100.0
    union = rows + columns - hits
    there = union > 0
    return float(100 * (hits[there] / union[there]).mean()) if there.any() else 100.0


def score_run(run: Run) -> None:
    """Evaluate a finished run's last checkpoint and write its ``per_image.json``.

    Raises:
        UserError: If its config, its checkpoint or the data are not there.
    """
    known = run.summary.get('last_checkpoint') or ''
    if not known or run.config_file is None:
        raise UserError(f'it kept no {"config" if known else "checkpoint"}.')
    checkpoint = str(run.folder / osp.basename(known))
    check_checkpoint(checkpoint, 'checkpoint')
    with tempfile.TemporaryDirectory() as logs:
        steps = [
            partial(use_split, split='val'),
            require_counter,
            partial(set_work_dir, work_dir=logs, name=run.stem),
            partial(check_data, loaders=('test',)),
            adapt_to_machine,
        ]
        cfg, _ = prepare(str(run.config_file), (), steps)
        cfg.load_from, cfg.resume, cfg.launcher = checkpoint, False, 'none'
        # No other run in this process has the name, and no backend of the run's is written to.
        cfg.experiment_name, cfg.visualizer, cfg.log_level = osp.basename(logs), None, 'WARNING'
        hook = ScoreImages(cfg.default_scope, cfg.get('data_root') or '.')
        with open_runner(cfg, [hook]) as runner:
            runner.test()
    write_per_image(run.folder, hook.scores)
