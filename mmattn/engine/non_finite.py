"""Stopping a run whose loss or weights are NaN or infinite."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.registry import HOOKS
from mmattn.utils.errors import InvalidValue, UserError


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop a run whose loss is NaN or infinite, and never save such weights.

    Args:
        patience: Non-finite losses in a row that are let pass. With dynamic loss
            scaling a few are normal: the scaler skips those steps.
    """

    # After mmengine's RuntimeInfoHook, which fetches the losses from the device.
    priority = 'ABOVE_NORMAL'

    def __init__(self, patience: int = 0) -> None:
        if patience < 0:
            raise InvalidValue(f'patience={patience} must be 0 or more')
        self.patience = patience
        self._in_a_row = 0
        self._where = ''

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count non-finite losses of the iteration; raise once they exceed ``patience``."""
        self._where = f'iteration {runner.iter + 1}, epoch {runner.epoch + 1}'
        fetched = runner.message_hub.log_scalars
        bad = {}
        for name, value in (outputs or {}).items():
            if 'loss' in name:
                known = fetched.get(f'train/{name}')
                number = float(value) if known is None else known.current()
                if not math.isfinite(number):
                    bad[name] = number
        self._in_a_row = self._in_a_row + 1 if bad else 0
        if self._in_a_row > self.patience:
            values = ', '.join(f'{name}={number}' for name, number in bad.items())
            self._stop(runner, f'non-finite loss ({values})')

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise if a weight is not finite: the step after the last loss may have ruined it."""
        finite = [weight.detach().isfinite().all() for weight in runner.model.parameters()]
        if not torch.stack(finite).all():
            self._stop(runner, 'non-finite weights')

    def _stop(self, runner: Runner, what: str) -> None:
        rates = runner.optim_wrapper.get_lr()
        rate = next(iter(rates.values()))[0] if rates else float('nan')
        raise UserError(
            f'training stopped: {what} in {self._where}, at learning rate {rate:.3g}. The '
            'checkpoints of '
            f'{runner.work_dir} were written before it. Usual cures: a lower learning rate '
            '(optim_wrapper.optimizer.lr), a longer warm-up, clipped gradients '
            '(optim_wrapper.clip_grad=dict(max_norm=35)), training without --amp, or '
            'looking for degenerate boxes in the annotations.',
            exit_code=1,
        )
