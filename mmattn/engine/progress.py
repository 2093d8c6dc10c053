"""A live progress bar on a terminal."""

import logging
import sys
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich import progress


class ProgressHook(Hook):
    """A live progress bar below the log lines of a terminal."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._progress = None
        self._task = None
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    def _open(self, runner: Runner, what: str, total: int, completed: int = 0) -> None:
        self._progress = progress.Progress(
            '{task.description}',
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            'left',
            progress.TimeRemainingColumn(),
            '{task.fields[info]}',
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, completed=completed, info='')
        # rich prints above the bar what goes to its sys.stdout; the logger holds the old one
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                self._streams.append((handler, handler.setStream(sys.stdout)))

    def close(self, runner: Runner | None = None) -> None:
        """Take the bar away and give the logger its stream back; safe to call twice."""
        for handler, stream in self._streams:
            if stream is not None:
                handler.setStream(stream)
        self._streams.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    after_train = after_test = close

    def before_train(self, runner: Runner) -> None:
        self._open(runner, 'training', runner.max_iters, runner.iter)

    def before_test(self, runner: Runner) -> None:
        self._open(runner, 'testing', len(runner.test_dataloader))

    def after_train_iter(self, runner: Runner, *args: Any, **options: Any) -> None:
        loss = runner.message_hub.log_scalars.get('train/loss')
        by_epoch = runner.max_epochs not in (None, 1) or 'Epoch' in type(runner.train_loop).__name__
        info = f'epoch {runner.epoch + 1}/{runner.max_epochs}' if by_epoch else ''
        if loss is not None:  # fetched from the device by mmengine's RuntimeInfoHook
            info = f'{info}  loss {loss.current():.4f}'.strip()
        self._update(completed=runner.iter + 1, description='training', info=info)

    def after_val_iter(self, runner: Runner, batch_idx: int, *args: Any, **options: Any) -> None:
        done = f'batch {batch_idx + 1}/{len(runner.val_dataloader)}'
        self._update(description='validating', info=done)

    def after_test_iter(self, runner: Runner, batch_idx: int, *args: Any, **options: Any) -> None:
        self._update(completed=batch_idx + 1)

    def _update(self, **changes: Any) -> None:
        if self._progress is not None:
            self._progress.update(self._task, **changes)
