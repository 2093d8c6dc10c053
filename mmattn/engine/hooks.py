"""Hooks that serve every toolbox: progress, record of metrics, and guards."""

import logging
import math
import sys
import time
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmattn.engine import interrupt
from mmattn.registry import HOOKS
from mmattn.utils.errors import UserError


def _scalar(value: torch.Tensor | float) -> float:
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop a run whose loss is NaN or infinite, before such weights are saved.

    Args:
        patience: Non-finite losses in a row that are let pass. With dynamic loss
            scaling a few are normal: the scaler skips those steps.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, patience: int = 0) -> None:
        if patience < 0:
            raise ValueError(f'patience={patience} must be 0 or more')
        self.patience = patience
        self._in_a_row = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count non-finite losses of the iteration; raise once they exceed ``patience``."""
        bad = {
            name: _scalar(value)
            for name, value in (outputs or {}).items()
            if 'loss' in name and not math.isfinite(_scalar(value))
        }
        self._in_a_row = self._in_a_row + 1 if bad else 0
        if self._in_a_row <= self.patience:
            return
        values = ', '.join(f'{name}={value}' for name, value in bad.items())
        rates = runner.optim_wrapper.get_lr()
        rate = next(iter(rates.values()))[0] if rates else float('nan')
        raise UserError(
            f'training stopped: non-finite loss ({values}) in iteration {runner.iter + 1}, epoch '
            f'{runner.epoch + 1}, at learning rate {rate:.3g}. The checkpoints of '
            f'{runner.work_dir} were written before it. Usual cures: a lower learning rate '
            '(optim_wrapper.optimizer.lr), a longer warm-up, clipped gradients '
            '(optim_wrapper.clip_grad=dict(max_norm=35)), training without --amp, or '
            'looking for degenerate boxes in the annotations.',
            exit_code=1,
        )


class InterruptHook(Hook):
    """End a run before its next iteration once Ctrl-C was pressed (see interrupt.py)."""

    priority = 'HIGHEST'

    def _hold(self, runner: Runner) -> None:
        interrupt.hold(True)

    def _release(self, runner: Runner) -> None:
        interrupt.hold(False)

    def _stop(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if interrupt.requested():
            raise KeyboardInterrupt

    before_train = before_test = _hold
    after_train = after_test = _release
    before_train_iter = before_val_iter = before_test_iter = _stop


class CheckpointFitHook(Hook):
    """Refuse a checkpoint that does not fit the model, and say how much of it does.

    mmengine loads non-strictly: without this a checkpoint with not a single
    matching key leaves random weights behind a line in the log.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes with the model's before they are loaded."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        weights = checkpoint.get('state_dict', checkpoint)
        given = {
            key.removeprefix('module.'): tuple(value.shape)
            for key, value in weights.items()
            if isinstance(value, torch.Tensor)
        }
        matched = {key for key in own if given.get(key) == own[key]}
        if not matched:
            raise UserError(
                'the checkpoint does not fit the model: not one of its '
                f'{len(given)} keys ({_some(given)}) is among the {len(own)} of the model '
                f'({_some(own)}). A file of bare backbone weights belongs into '
                "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)."
            )
        backbone = {key for key in own if key.startswith('backbone.') and '.attn_' not in key}
        if len(backbone & matched) < len(backbone) / 2:
            shapes = [key for key in backbone & set(given) if given[key] != own[key]]
            raise UserError(
                f'the checkpoint does not fit the model: only {len(backbone & matched)} of the '
                f"backbone's {len(backbone)} tensors match (missing: "
                f'{_some(backbone - set(given))}; other shape: {_some(shapes)}).'
            )
        level = logging.INFO if len(matched) == len(own) else logging.WARNING
        missing = [key for key in own if key not in matched]
        text = f'checkpoint: {len(matched)} of {len(own)} tensors of the model match'
        runner.logger.log(level, text + (f'; not loaded: {_some(missing)}' if missing else ''))


def _some(keys: Any, limit: int = 3) -> str:
    keys = sorted(keys)
    shown = ', '.join(keys[:limit]) or 'none'
    return shown + (f' and {len(keys) - limit} more' if len(keys) > limit else '')


class RecordHook(Hook):
    """Remember metrics for the summary, and log how long the start took.

    Args:
        started: ``time.time()`` at the start of the command.
    """

    def __init__(self, started: float) -> None:
        self.started = started
        self.first_iteration_seconds: float | None = None
        self.metrics: dict[str, float] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Log the time from the command to the first iteration, once."""
        if self.first_iteration_seconds is None:
            self.first_iteration_seconds = time.time() - self.started
            runner.logger.info(
                f'first training iteration starts {self.first_iteration_seconds:.1f} s after the '
                'command'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the latest validation metrics."""
        self.metrics = dict(metrics or {})

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Keep the test metrics."""
        self.metrics = dict(metrics or {})


class ProgressHook(Hook):
    """A live progress bar below the log lines of a terminal."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self._progress = None
        self._task = None
        self._streams: list[tuple[logging.StreamHandler, Any]] = []

    def _open(self, runner: Runner, what: str, total: int, completed: int = 0) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn('left'),
            TimeRemainingColumn(),
            TextColumn('{task.fields[info]}'),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, completed=completed, info='')
        # rich prints above the bar what goes to its sys.stdout; the logger holds the old one
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                self._streams.append((handler, handler.setStream(sys.stdout)))

    def close(self) -> None:
        """Take the bar away and give the logger its stream back; safe to call twice."""
        for handler, stream in self._streams:
            if stream is not None:
                handler.setStream(stream)
        self._streams.clear()
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def before_train(self, runner: Runner) -> None:
        """Open the bar at the iteration the run starts or continues from."""
        self._open(runner, 'training', runner.max_iters, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the bar and show epoch and loss."""
        loss = (outputs or {}).get('loss')
        info = f'epoch {runner.epoch + 1}/{runner.max_epochs}' if _by_epoch(runner) else ''
        if loss is not None:
            info += f'  loss {_scalar(loss):.4f}'
        self._progress.update(
            self._task, completed=runner.iter + 1, description='training', info=info.strip()
        )

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show how far a validation is."""
        if self._progress is not None:
            done = f'batch {batch_idx + 1}/{len(runner.val_dataloader)}'
            self._progress.update(self._task, description='validating', info=done)

    def after_train(self, runner: Runner) -> None:
        """Take the bar away."""
        self.close()

    def before_test(self, runner: Runner) -> None:
        """Open the bar for a test."""
        self._open(runner, 'testing', len(runner.test_dataloader))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=batch_idx + 1)

    def after_test(self, runner: Runner) -> None:
        """Take the bar away."""
        self.close()


def _by_epoch(runner: Runner) -> bool:
    return runner.max_epochs not in (None, 1) or 'Epoch' in type(runner.train_loop).__name__


class PictureHook(Hook):
    """Write each test image with its prediction, beside or over the ground truth.

    Args:
        out_dir: Folder for the pictures, created if absent.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = out_dir
        self.count = 0

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the samples of a batch with the toolbox's own visualizer."""
        import os

        import mmcv

        os.makedirs(self.out_dir, exist_ok=True)
        for sample in outputs or []:
            path = sample.metainfo.get('img_path')
            if path is None:
                continue
            image = mmcv.imread(path, channel_order='rgb')
            stem = os.path.splitext(os.path.basename(path))[0]
            # images of different folders may share a name
            out_file = os.path.join(self.out_dir, f'{runner.rank}_{self.count:05d}_{stem}.png')
            self._draw(runner.visualizer, stem, image, sample, out_file)
            self.count += 1

    @staticmethod
    def _draw(visualizer: Any, name: str, image: Any, sample: Any, out_file: str) -> None:
        if hasattr(visualizer, 'visualize_cls'):  # mmpretrain
            visualizer.visualize_cls(image, sample, out_file=out_file, name=name)
        elif hasattr(visualizer, 'add_datasample'):
            visualizer.add_datasample(name, image, sample, show=False, out_file=out_file)
        else:
            raise UserError(
                f'--show-dir: the visualizer {type(visualizer).__name__} cannot draw '
                "predictions; use the toolbox's own (DetLocalVisualizer, SegLocalVisualizer, "
                'UniversalVisualizer).'
            )
