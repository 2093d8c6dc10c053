"""Checkpoints besides the config's own, by time or iterations, in the middle of an epoch too."""

import time
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.engine.survival.agreement import Agreement
from mmattn.engine.survival.checkpoint_hook import save_now


class SaveEveryHook(Hook):
    """Save ``iter_N.pth`` every so often; the next checkpoint but one, of any kind, replaces it.

    With several processes the first one's clock counts.

    Args:
        number: Seconds or iterations.
        unit: 's' or 'it'.
    """

    # After mmengine's CheckpointHook, of the same priority: what that has saved is not saved twice.
    priority = 'VERY_LOW'

    def __init__(self, number: float, unit: str) -> None:
        self.number, self.unit = number, unit
        self._saved_at = 0.0
        self._agreement: Agreement | None = None
        self._heard = False

    def before_train(self, runner: Runner) -> None:
        self._saved_at = time.monotonic()
        if self.unit == 's' and self._agreement is None:
            self._agreement = Agreement()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # Only where it is written, which is where the clock counts.
        self._saved_at = time.monotonic()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self._is_due(runner):
            save_now(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_train(self, runner: Runner) -> None:
        if self._agreement is not None:
            self._agreement.close()

    def _is_due(self, runner: Runner) -> bool:
        if self.unit == 'it':
            return self.every_n_train_iters(runner, self.number)
        due = is_main_process() and time.monotonic() - self._saved_at >= self.number
        # What arrives was sent an iteration ago, and a second time before it had arrived.
        self._heard = bool(self._agreement.greatest(int(due))) and not self._heard
        return self._heard
