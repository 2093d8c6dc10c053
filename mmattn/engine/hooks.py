"""Hooks that watch what was loaded, and the memory format."""

import logging
from collections.abc import Collection

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmattn.attention import Attention
from mmattn.backbones.loading import BARE_WEIGHTS, is_anothers
from mmattn.engine.survival.finite import FiniteHook
from mmattn.registry import HOOKS
from mmattn.utils.errors import UserError

# Its name before it looked at gradients.
NonFiniteLossHook = FiniteHook


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Store the model's convolution weights channels_last, (N, H, W, C) in memory.

    Convolutions give their outputs the weights' format, so the whole network
    follows; inputs and checkpoints need no change. Grouped and narrow
    convolutions gain most: it halves the time of a training step of
    SE-Res2Net-29 on a CPU.
    """

    def before_run(self, runner: Runner) -> None:
        runner.model.to(memory_format=torch.channels_last)


class CheckpointFitHook(Hook):
    """Refuse a checkpoint that is another model's, and say what was loaded and what not.

    mmengine loads non-strictly: without this a checkpoint with not a single matching key
    leaves random weights behind a line in the log. The backbones of mmattn look at the
    weights for themselves while they load; this looks at the model, and at stock backbones.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] | None = None
        self._keys: set[str] = set()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        # Whatever its name in the file, what is filled changes its version.
        self._before = {key: value._version for key, value in _weights(runner).items()}
        keys = checkpoint.get('state_dict', checkpoint)
        self._keys = {key.removeprefix('module.') for key in keys}

    def _check(self, runner: Runner) -> None:
        if self._before is None:
            return
        own, before, self._before = _weights(runner), self._before, None
        missing = [key for key, value in own.items() if value._version == before[key]]
        model = _model(runner)
        slots = tuple(f'{name}.' for name, m in model.named_modules() if isinstance(m, Attention))
        new = [key for key in missing if key.startswith(slots)]
        missing = [key for key in missing if not key.startswith(slots)]
        loaded = len(own) - len(missing) - len(new)
        stock = [k for k in own if k.startswith('backbone.') and not k.startswith(slots)]
        lacking = [key for key in missing if key.startswith('backbone.')]
        misshapen = [key for key in lacking if key in self._keys]
        if not loaded or is_anothers(len(stock) - len(lacking), len(misshapen), len(stock)):
            raise UserError(
                f'the checkpoint does not fit the model: {loaded} of its {len(own)} weights are in '
                f'it. Its keys: {_some(self._keys)}; missing: {_some(missing)}; of another shape: '
                f'{_some(misshapen)}.{"" if loaded else f" {BARE_WEIGHTS}"}'
            )
        parts = [f'{len(new)} of attention, which start anew'] if new else []
        parts += [_some(missing)] if missing else []
        runner.logger.log(
            logging.WARNING if missing else logging.INFO,
            f'checkpoint: {loaded} of {len(own)} weights of the model were loaded'
            + (f'; not loaded: {"; ".join(parts)}' if parts else ''),
        )

    before_train = before_val = before_test = _check


def _model(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _weights(runner: Runner) -> dict[str, Tensor]:
    """The model's own tensors, without BatchNorm's counters, which old checkpoints lack."""
    return {
        key: value
        for key, value in _model(runner).state_dict(keep_vars=True).items()
        if not key.endswith('num_batches_tracked')
    }


def _some(keys: Collection[str], limit: int = 3) -> str:
    keys = sorted(keys)
    shown = ', '.join(keys[:limit]) or 'none'
    return shown + (f' and {len(keys) - limit} more' if len(keys) > limit else '')
