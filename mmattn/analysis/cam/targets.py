"""What a map explains: a class of an image, or a detection, and the score that speaks for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn.utils.errors import UserError

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the original image


class Attached(TorchFunctionMode):
    """While it holds, ``detach`` leaves a tensor in its graph.

    Of mmdet's heads many detach the scores before the post-processing.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is Tensor.detach:
            return args[0]
        if func is Tensor.numpy:  # what was detached for it
            args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Target:
    """One thing that a model found in an image.

    Args:
        label: Its class.
        score: Its probability, for a segmenter the class's share of the pixels.
        value: The number whose gradients are taken; None: the model did not find it.
        boxes: Of the detections that it stands for.
    """

    label: int
    score: float
    value: Tensor | None
    boxes: tuple[Box, ...] = ()


def classified(model: nn.Module, batch: dict) -> list[Target]:
    """All classes of a classifier, the surest first; the value is the logit."""
    logits = model(**batch, mode='tensor')
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        kind = type(getattr(model, 'head', model)).__name__
        raise UserError(f'{kind} gives no logits of shape (N, classes): no classifier to explain.')
    (sample,) = model.head._get_predictions(logits, batch['data_samples'])
    scores = sample.pred_score.tolist()
    order = sorted(range(len(scores)), key=lambda label: -scores[label])
    return [Target(label, scores[label], logits[0, label]) for label in order]


def detected(model: nn.Module, batch: dict) -> list[Target]:
    """All detections, the surest first; the value is the score."""
    (sample,) = model(**batch, mode='predict')
    found = sample.pred_instances
    order = found.scores.argsort(descending=True).tolist()
    scores, labels, boxes = (found[key].tolist() for key in ('scores', 'labels', 'bboxes'))
    return [Target(labels[i], scores[i], found.scores[i], (tuple(boxes[i]),)) for i in order]


def segmented(model: nn.Module, batch: dict) -> list[Target]:
    """The classes of a segmentation, the largest first.

    The value is the sum of the class's logits over the pixels that are predicted as the class.
    """
    (sample,) = model(**batch, mode='predict')
    logits, predicted = sample.seg_logits.data, sample.pred_sem_seg.data[0]
    if len(logits) == 1:  # two classes by one probability
        logits = torch.cat([1 - logits, logits])
    targets = []
    for label in predicted.unique().long().tolist():
        mask = predicted == label
        share = mask.float().mean().item()
        targets.append(Target(label, share, logits[label][mask].sum()))
    return sorted(targets, key=lambda target: -target.score)


# The targets of a batch of one image, by toolbox.
TARGETS: dict[str, Callable[[nn.Module, dict], list[Target]]] = {
    'mmpretrain': classified,
    'mmdet': detected,
    'mmseg': segmented,
}


def by_class(detections: Iterable[Target]) -> list[Target]:
    """Detections of a class as one target: the sum of their scores; the best one is shown."""
    groups: dict[int, list[Target]] = {}
    for one in detections:
        groups.setdefault(one.label, []).append(one)
    return [
        Target(
            label,
            max(one.score for one in group),
            torch.stack([one.value for one in group]).sum(),
            tuple(box for one in group for box in one.boxes),
        )
        for label, group in groups.items()
    ]


def at_same_place(wanted: Target, detections: Iterable[Target]) -> Target | None:
    """The detection of the same class whose box overlaps most, with an IoU of at least 0.5."""
    alike = [one for one in detections if one.label == wanted.label]
    pairs = [(overlap(wanted.boxes[0], one.boxes[0]), one) for one in alike]
    iou, best = max(pairs, key=lambda pair: pair[0], default=(0.0, None))
    return best if iou >= 0.5 else None


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    common = width * height
    return common / (areas - common) if common else 0.0
