"""TIDE: which kind of error costs a detector how much AP.

Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors"
(ECCV 2020, arXiv:2008.08115). A false positive belongs to the first of the kinds below that it
fits, in the order of the authors' code (github.com/dbolya/tide, tidecv/quantify.py), t_f = 0.5
and t_b = 0.1. dAP is the AP50 that mending one kind alone would add: a detection becomes right
(only the surest one of an object that none has found) or disappears, a missed object is not
counted.

Deviations from the code: AP is the mean over the classes that have objects, as COCO's (there a
class with nothing but false positives counts as 0); an object is claimed by the surest detection
of the kind that is mended, as the paper has it (there by that of localisation and classification
together, so that one's mending depends on the other); no negative dAP is set to 0.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from mmattn.analysis.errors.boxes import MATCH, Image, match_classes

BACKGROUND_IOU = 0.1  # t_b
LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND, BOTH, MISSED = KINDS = (
    'localisation',
    'classification',
    'duplicate',
    'background',
    'both',
    'missed',
)
RIGHT = 'right'


def judge(image: Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say of each detection of an image that counts what it is.

    Returns:
        counted: Index of the detections that count.
        kinds: Of each of them 'right' or one of KINDS, strings.
        targets: The object, without the ignored ones, that each has found or failed; -1: none.
    """
    ious, partner, counted = match_classes(image)
    counted = np.flatnonzero(counted)
    ious, partner = ious[counted], partner[counted]
    if not ious.shape[1]:
        return counted, np.full(len(counted), BACKGROUND, dtype=object), partner
    same = image.found_labels[counted][:, None] == image.labels[~image.ignored]
    own, other = ious * same, ious * ~same
    best_own, best_other = own.max(1), other.max(1)
    fits = [
        (RIGHT, partner >= 0),
        (LOCALISATION, (best_own >= BACKGROUND_IOU) & (best_own < MATCH)),
        (CLASSIFICATION, best_other >= MATCH),
        (DUPLICATE, best_own >= MATCH),
        (BACKGROUND, np.maximum(best_own, best_other) <= BACKGROUND_IOU),
    ]
    kinds = np.full(len(counted), BOTH, dtype=object)
    for kind, which in reversed(fits):
        kinds[which] = kind
    targets = np.where(kinds == LOCALISATION, own.argmax(1), partner)
    targets = np.where(kinds == CLASSIFICATION, other.argmax(1), targets)
    return counted, kinds, targets


def average_precision(labels: np.ndarray, right: np.ndarray, objects: np.ndarray) -> float:
    """Mean over the classes that have objects of COCO's AP, from 101 recalls.

    Args:
        labels: Class of each detection, the surest first.
        right: Whether it is a true positive.
        objects: How many of each class there are to be found.
    """
    precisions = []
    for label in np.flatnonzero(objects):
        hits = np.cumsum(right[labels == label])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        at = np.searchsorted(hits / objects[label], np.linspace(0, 1, 101))
        precisions.append(precision[at].mean())
    return float(np.mean(precisions)) if precisions else float('nan')


class Tide:
    """The errors of a detector.

    Args:
        images: Objects and detections.
        classes: Number of classes.

    Attributes:
        ap: AP at an IoU of 0.5, 0 to 1.
        counts: Number of errors by kind; and of 'false positives', 'false negatives'.
        gains: dAP of each of them, 0 to 1.
    """

    def __init__(self, images: Iterable[Image], classes: int) -> None:
        parts: list[Sequence[np.ndarray]] = []
        objects: list[np.ndarray] = []
        total = 0
        for image in images:
            counted, kinds, targets = judge(image)
            targets = np.where(targets >= 0, targets + total, -1)
            parts.append((image.scores[counted], image.found_labels[counted], kinds, targets))
            objects.append(image.labels[~image.ignored])
            total += len(objects[-1])
        scores, labels, kinds, targets = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(-scores, kind='stable')
        self._labels, self._kinds, self._targets = labels[order], kinds[order], targets[order]
        self._objects = np.concatenate(objects).astype(int)
        self._right = self._kinds == RIGHT
        self._number = np.bincount(self._objects, minlength=classes)
        self._found = np.zeros(total, dtype=bool)
        self._found[self._targets[self._right]] = True
        self._missed = ~self._found
        self._missed[self._targets[np.isin(self._kinds, (LOCALISATION, CLASSIFICATION))]] = False
        self.ap = average_precision(self._labels, self._right, self._number)
        self.counts = {kind: int(np.sum(self._kinds == kind)) for kind in KINDS}
        self.counts[MISSED] = int(self._missed.sum())
        self.counts['false positives'] = int(np.sum(~self._right))
        self.counts['false negatives'] = int(np.sum(~self._found))
        mended = {kind: self._mended(kind) for kind in KINDS}
        mended[MISSED] = self._without(self._missed)
        mended['false positives'] = average_precision(
            self._labels[self._right], self._right[self._right], self._number
        )
        mended['false negatives'] = self._without(~self._found)
        self.gains = {name: ap - self.ap for name, ap in mended.items()}

    def _mended(self, kind: str) -> float:
        """AP if the false positives of a kind were put right, or were not there."""
        mine = np.flatnonzero(self._kinds == kind)
        keep = np.ones(len(self._kinds), dtype=bool)
        keep[mine] = False
        labels, right = self._labels.copy(), self._right.copy()
        if kind in (LOCALISATION, CLASSIFICATION):
            unfound = mine[~self._found[self._targets[mine]]]
            _, first = np.unique(self._targets[unfound], return_index=True)
            put_right = unfound[first]
            labels[put_right] = self._objects[self._targets[put_right]]
            right[put_right] = keep[put_right] = True
        return average_precision(labels[keep], right[keep], self._number)

    def _without(self, objects: np.ndarray) -> float:
        """AP if some of the objects were not to be found."""
        left = self._number - np.bincount(self._objects[objects], minlength=len(self._number))
        return average_precision(self._labels, self._right, left)
