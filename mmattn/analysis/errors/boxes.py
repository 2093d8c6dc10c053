"""Boxes or masks of an image: annotated and detected, and who belongs to whom."""

from dataclasses import dataclass

import numpy as np

from mmattn.analysis.extra import extra

MOST = 100  # detections of a class in an image that count, as in COCO
MATCH = 0.5  # IoU from which on a detection has found an object


@dataclass
class Image:
    """Objects and detections of an image.

    Boxes have shape (N, 4), corners x1, y1, x2, y2 in pixels. The detections are put in
    order, the surest first, and of a class only the first 100 are kept.
    """

    path: str
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray  # in pixels; of the mask where the annotation has one
    ignored: np.ndarray  # bool: a crowd, neither to be found nor background
    found: np.ndarray
    found_labels: np.ndarray
    scores: np.ndarray
    # COCO's run lengths, where masks are to be judged in place of boxes
    masks: list[dict] | None = None
    found_masks: list[dict] | None = None

    def __post_init__(self) -> None:
        order = np.argsort(-self.scores, kind='stable')
        labels = self.found_labels[order]
        if len(order) > MOST:
            firsts = [np.flatnonzero(labels == label)[:MOST] for label in np.unique(labels)]
            order = order[np.sort(np.concatenate(firsts))]
        self.found, self.found_labels = self.found[order], self.found_labels[order]
        self.scores = self.scores[order]
        self.boxes, self.found = self.boxes.astype(float), self.found.astype(float)
        if self.found_masks is not None:
            self.found_masks = [self.found_masks[index] for index in order]

    def overlaps(self, crowds: bool = False) -> np.ndarray:
        """IoU of each detection with each object, or with each crowd, (detections, objects)."""
        which = self.ignored == crowds
        if self.masks is None:
            return overlaps(self.found, self.boxes[which], crowds)
        mask = extra('faster_coco_eval.core.mask')
        objects = [self.masks[index] for index in np.flatnonzero(which)]
        ious = mask.iou(self.found_masks, objects, [int(crowds)] * len(objects))
        return np.asarray(ious, float).reshape(len(self.found_masks), len(objects))


def overlaps(found: np.ndarray, boxes: np.ndarray, crowd: bool = False) -> np.ndarray:
    """IoU of each of ``found``, (N, 4), with each of ``boxes``, (M, 4); shape (N, M).

    Of crowds it is the part of the detection that lies inside, as in COCO.
    """
    low = np.maximum(found[:, None, :2], boxes[None, :, :2])
    high = np.minimum(found[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    area, others = _areas(found)[:, None], _areas(boxes)[None]
    union = area if crowd else area + others - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(1)


def match(ious: np.ndarray, threshold: float = MATCH) -> np.ndarray:
    """Give each detection, the surest first, the free object that it overlaps most.

    Args:
        ious: Shape (detections, objects); 0 where the two may not belong together.

    Returns:
        Index of each detection's object; -1: none that it overlaps enough is free.
    """
    partner = np.full(len(ious), -1)
    if not ious.size:
        return partner
    free = ious.copy()
    for row in np.flatnonzero(ious.max(1) >= threshold):
        best = free[row].argmax()
        if free[row, best] >= threshold:
            partner[row] = best
            free[:, best] = 0
    return partner


def match_classes(image: Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match the detections of an image with the objects of their class.

    Returns:
        The overlaps with the objects that are not ignored, (detections, objects); the partners
        as of :func:`match`, objects counted without the ignored ones; which detections count:
        not those without an object inside a crowd of their class.
    """
    objects = ~image.ignored
    ious = image.overlaps()
    partner = match(ious * (image.found_labels[:, None] == image.labels[objects]))
    crowds = image.overlaps(crowds=True)
    crowds = crowds * (image.found_labels[:, None] == image.labels[image.ignored])
    return ious, partner, (partner >= 0) | (crowds < MATCH).all(1)


class Pairs:
    """The sure detections of an image, and the object of each.

    A detection belongs to the free object of its class that it overlaps most, by an IoU of 0.5
    and more, the surest first; the rest to the free objects of other classes in the same way.

    Args:
        image: Objects and detections.
        score: Of a sure detection, at least.

    Attributes:
        boxes, labels: Of the objects that are not ignored.
        which: Index of the detections that count.
        partner: Index of the object of each; -1: none.
        right: Whether it is of the object's class.
        missed: Which objects no detection of their class has found.
    """

    def __init__(self, image: Image, score: float) -> None:
        self.image = image
        self.boxes, self.labels = image.boxes[~image.ignored], image.labels[~image.ignored]
        ious, partner, counted = match_classes(image)
        self.which = np.flatnonzero(counted & (image.scores >= score))
        # Surer detections come first: without the others they have the same objects.
        ious, self.partner = ious[self.which], partner[self.which]
        self.right = self.partner >= 0
        self.missed = np.ones(len(self.labels), dtype=bool)
        self.missed[self.partner[self.right]] = False
        free = np.append(np.flatnonzero(self.missed), -1)
        self.partner[~self.right] = free[match(ious[~self.right][:, self.missed])]
