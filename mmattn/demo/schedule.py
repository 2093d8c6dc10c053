"""Shortens a config's schedule and sets an optimizer that learns from scratch in minutes."""

from mmattn.demo.tasks import Task
from mmattn.utils.errors import InvalidValue
from mmattn.utils.walk import type_name

# Schedulers that raise the learning rate at the start of training.
WARM_UPS = ('LinearLR', 'ConstantLR', 'QuadraticWarmupLR', 'LinearParamScheduler')
# Points in time and lengths that schedulers, hooks and loops keep.
TIMES = ('begin', 'end', 'T_max', 'step_size', 'total_steps', 'milestones')
# Of the epochs this part at most has the augmentations that a hook switches off in the end
# (mosaics): from scratch they make little of so few images.
MIXED = 3


def shorten(cfg: dict, task: Task) -> list[str]:
    """Shorten loop, schedulers and hooks, in place.

    An epoch-based loop keeps its epochs as far as the number of evaluations and of images lets
    it; schedulers are stretched to the new length in their own unit.

    Returns:
        Notes on what was replaced.

    Raises:
        InvalidValue: If the loop has no length.
    """
    loop = cfg['train_cfg']
    by_epoch = _by_epoch(loop)
    key = 'max_epochs' if by_epoch else 'max_iters'
    old = loop[key]
    per_epoch = task.train_images // task.batch_size
    new = min(old, max(1, task.iterations // per_epoch) if by_epoch else task.iterations)
    loop[key] = new
    loop['val_interval'] = interval = max(1, new // task.evaluations)
    loop.pop('dynamic_intervals', None)
    loop.pop('val_begin', None)
    iterations = new * per_epoch if by_epoch else new
    unit = 'epochs' if by_epoch else 'iterations'
    notes = [f'schedule: {old} {unit} -> {new}, with the learning rate curve shrunk to match']
    ratio = new / old
    schedulers = cfg.get('param_scheduler')
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers or []:
        _shrink_scheduler(scheduler, by_epoch, ratio, iterations)
        in_units_of_loop = scheduler.get('by_epoch', True) == by_epoch
        _keep_some(scheduler, new if in_units_of_loop else iterations)
    _shorten_hooks(cfg, interval, ratio, max(1, iterations // per_epoch))
    notes += _drop_averaging(cfg)
    return notes


def set_optimizer(cfg: dict, task: Task) -> list[str]:
    """Replace the optimizer by AdamW at the task's learning rate, in place."""
    wrapper = cfg['optim_wrapper']
    old = wrapper['optimizer']
    rate = old.get('lr')
    wrapper['optimizer'] = dict(type='AdamW', lr=task.learning_rate, weight_decay=0.01)
    wrapper.pop('accumulative_counts', None)
    schedulers = cfg.get('param_scheduler')
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers or []:
        for key in ('eta_min', 'eta_max'):
            if scheduler.get(key) and rate:
                scheduler[key] *= task.learning_rate / rate
    (cfg.get('auto_scale_lr') or {}).pop('enable', None)
    return [f'optimizer: {type_name(old)} (lr {rate}) -> AdamW (lr {task.learning_rate})']


def _by_epoch(loop: dict) -> bool:
    if loop.get('max_epochs') is None and loop.get('max_iters') is None:
        raise InvalidValue(
            f'train_cfg has neither max_epochs nor max_iters: {dict(loop)}; --demo needs one.'
        )
    return loop.get('max_epochs') is not None


def _shrink_scheduler(scheduler: dict, loop_by_epoch: bool, ratio: float, total: int) -> None:
    by_epoch = scheduler.get('by_epoch', True)
    if by_epoch != loop_by_epoch:
        # The original number of iterations in an epoch is unknown here.
        span = max((scheduler.get(key) or 0 for key in ('end', 'T_max', 'total_steps')), default=0)
        part = 0.1 if type_name(scheduler) in WARM_UPS else 1.0
        ratio = part * total / span if span else 1.0
    elif type_name(scheduler) in WARM_UPS:
        # A warm-up that is a thousandth of the schedule would vanish.
        length = (scheduler.get('end') or 0) - (scheduler.get('begin') or 0)
        if 0 < length * ratio < 0.1 * total and not by_epoch:
            ratio = min(1.0, 0.1 * total / length)
    for key in TIMES:
        value = scheduler.get(key)
        if isinstance(value, (list, tuple)):
            scheduler[key] = sorted({max(1, round(item * ratio)) for item in value})
        elif value:
            scheduler[key] = max(1, round(value * ratio))


def _keep_some(scheduler: dict, length: int) -> None:
    """A scheduler that was shrunk to nothing would be refused: it keeps one step."""
    begin = scheduler.get('begin') or 0
    if begin >= length:
        scheduler['begin'] = begin = length - 1
    if scheduler.get('end') and scheduler['end'] <= begin:
        scheduler['end'] = begin + 1


def _shorten_hooks(cfg: dict, interval: int, ratio: float, epochs: int) -> None:
    hooks = cfg.setdefault('default_hooks', {})
    if hooks.get('checkpoint'):
        hooks['checkpoint'].update(interval=interval, max_keep_ckpts=1)
        hooks['checkpoint'].pop('save_begin', None)
    if hooks.get('logger'):
        hooks['logger']['interval'] = max(1, min(hooks['logger'].get('interval', 10), 10))
    if cfg.get('log_processor'):
        cfg['log_processor']['window_size'] = 10
    for hook in cfg.get('custom_hooks') or []:
        if hook.get('switch_iter'):
            hook['switch_iter'] = max(1, round(hook['switch_iter'] * ratio))
        mixed = max(1, epochs // MIXED)
        for key, value in {'switch_epoch': mixed, 'num_last_epochs': epochs - mixed}.items():
            if hook.get(key):
                hook[key] = value


def _drop_averaging(cfg: dict) -> list[str]:
    """Take out averaged weights: over so few steps they would stay near the random ones."""
    hooks = cfg.get('custom_hooks') or []
    kept = [hook for hook in hooks if type_name(hook) != 'EMAHook']
    if len(kept) == len(hooks):
        return []
    cfg['custom_hooks'] = kept
    return ['EMAHook left out: a short schedule is too short for averaged weights']
