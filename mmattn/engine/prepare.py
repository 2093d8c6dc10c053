"""Preparing a config: every command's list of steps between a name and a run, and the steps.

Those about data are in data_check, class_check and data_root, those about the machine in
machine, processes and the checkpoint to continue from in distributed and resume.
"""

import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS, OPTIMIZERS

from mmattn.engine.config import TOOLBOXES, load_config
from mmattn.engine.survival.options import Survival
from mmattn.registry import METRICS
from mmattn.utils.errors import UserError, did_you_mean
from mmattn.utils.walk import iter_dicts, type_name

# Changes the config in place, or refuses it; returns notes for the user.
Step = Callable[[Config], Iterable[str] | None]


def prepare(
    name: str, options: Sequence[str] = (), steps: Iterable[Step | None | bool] = ()
) -> tuple[Config, list[str]]:
    """Read a config, merge ``--cfg-options``, and take one step after the other.

    Steps that are None or False are passed over.

    Returns:
        The config, ready for its use, and what the user should know of it.

    Raises:
        UserError: If the config or an option is wrong, its toolbox is not installed, or a
            step refuses it.
    """
    cfg, notes = load_config(name, options)
    for step in [require_toolbox, *filter(None, steps)]:
        notes += step(cfg) or []
    return cfg, list(dict.fromkeys(notes))


def require_toolbox(cfg: Config) -> None:
    """Raise a :class:`UserError` if the toolbox that the config is for is not installed."""
    scope = cfg.get('default_scope')
    if not scope or scope in MODELS.children or importlib.util.find_spec(scope) is not None:
        return
    if scope in TOOLBOXES:
        raise UserError(
            f"the config is for {scope} (default_scope), which is not installed: 'python -m "
            "mmattn doctor' shows what is, and the command that installs the rest."
        )
    meant = did_you_mean(scope, TOOLBOXES) or f' The toolboxes are {", ".join(TOOLBOXES)}.'
    raise UserError(f'default_scope={scope!r} is no installed package.{meant}')


def set_work_dir(cfg: Config, work_dir: str | None, name: str, demo: bool = False) -> None:
    """Choose the work dir: command line, then the config, then ``work_dirs/NAME``."""
    default = Path('work_dirs') / (Path(name).stem + ('_demo' if demo else ''))
    cfg.work_dir = work_dir or (None if demo else cfg.get('work_dir')) or str(default)


def set_seed(cfg: Config, seed: int) -> None:
    """Seed all random numbers."""
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)


def set_survival(cfg: Config, options: Mapping[str, Any]) -> None:
    """Set what the command line says of the config's key ``survival``; refuse what is wrong."""
    said = {name: value for name, value in options.items() if value is not None}
    if said:
        cfg.survival = {**(cfg.get('survival') or {}), **said}
    Survival.from_cfg(cfg)


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


def set_save_best(cfg: Config) -> list[str]:
    """Keep the best checkpoint unless the config decides about that itself.

    mmengine's ``save_best='auto'`` takes the first metric, which for VOCMetric is
    one it cannot rank and for IoUMetric the pixel accuracy; so the task's own
    metric is named here.

    Returns:
        A note if the config validates but no metric to rank by is known.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if hook is None or 'save_best' in hook or not cfg.get('val_evaluator'):
        return []
    evaluators = cfg.val_evaluator
    if isinstance(evaluators, dict):
        evaluators = evaluators.get('metrics') or [evaluators]
    metric = next(filter(None, map(main_metric, evaluators)), None)
    if metric is None:
        names = ', '.join(map(type_name, evaluators))
        return [
            f'no best checkpoint is kept: which metric of {names} matters is not known. Set '
            'default_hooks.checkpoint.save_best (and .rule).'
        ]
    hook.save_best = metric
    hook.setdefault('rule', 'greater')
    return []


def main_metric(evaluator: dict) -> str | None:
    """Name under which an evaluator reports the metric its task is judged by.

    A metric class that is not of the toolboxes says it by its attribute ``main_metric``.
    """
    kind = type_name(evaluator)
    if kind == 'CocoMetric':
        first = evaluator.get('metric', 'bbox')
        first = first if isinstance(first, str) else first[0]
        default, name = 'coco', {'bbox': 'bbox_mAP', 'segm': 'segm_mAP'}.get(first, 'AR@100')
    elif kind == 'VOCMetric':
        default, name = 'pascal_voc', 'mAP'
    elif kind == 'IoUMetric':
        # Its name for a list, or for one; only what it is asked for is reported.
        names = evaluator.get('iou_metrics', 'mIoU')
        default, name = None, names if isinstance(names, str) else names[0]
    elif kind == 'Accuracy':
        topk = evaluator.get('topk', 1)
        default, name = 'accuracy', f'top{topk if isinstance(topk, int) else min(topk)}'
    else:
        metric = evaluator.get('type')
        metric = metric if inspect.isclass(metric) else METRICS.get(metric or '')
        name = getattr(metric, 'main_metric', None)
        if name is None:
            return None
        default = metric.default_prefix
    prefix = evaluator.get('prefix', default)
    return f'{prefix}/{name}' if prefix else name
