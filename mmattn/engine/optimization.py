"""What the command line and the machine change about a config's optimizer."""

import inspect

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS

from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts, type_name


def enable_amp(cfg: Config) -> None:
    """Switch the optimizer wrapper to automatic mixed precision."""
    wrapper = cfg.get('optim_wrapper')
    if not wrapper:
        raise UserError('--amp: the config has no optim_wrapper.')
    kind = type_name(wrapper) or 'OptimWrapper'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(
            f"--amp works with optim_wrapper.type='OptimWrapper', but the config has {kind!r}."
        )
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the real over the config's base batch size."""
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise UserError(
            '--auto-scale-lr: the config does not say which batch size its learning rate is '
            'meant for. Add auto_scale_lr=dict(base_batch_size=N) or '
            '--cfg-options auto_scale_lr.base_batch_size=N.'
        )
    cfg.auto_scale_lr.enable = True


def name_weight_decay(cfg: Config) -> None:
    """Write out the optimizer's default weight decay where ``decay_mult`` factors need it.

    mmengine refuses to multiply a weight decay that the config leaves to the optimizer.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    optimizer = wrapper.get('optimizer')
    keys = {key for node in iter_dicts(wrapper.get('paramwise_cfg') or {}) for key in node}
    if not optimizer or not any(key.endswith('decay_mult') for key in keys):
        return
    kind = optimizer.get('type')
    cls = OPTIMIZERS.get(kind) if isinstance(kind, str) else kind
    default = inspect.signature(cls).parameters.get('weight_decay') if cls else None
    if default is not None and default.default is not inspect.Parameter.empty:
        optimizer.setdefault('weight_decay', default.default)
