"""Which metric chooses the best checkpoint of a run."""

import inspect

from mmengine.config import Config

from mmattn.registry import METRICS
from mmattn.utils.walk import type_name


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
        default, name = None, 'mIoU'
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
