"""Does a map lie on the object? The SE-Res2Net report's protocol: binarised at the median, IoU.

Of what the report leaves open: the map is first enlarged to the picture; a pixel belongs to the
object if it is greater than the median, so that of a map that is 0 on more than half of the
picture all is kept that is not 0, and a model that does not find the class scores 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.utils.errors import UserError

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over images and its 95 % interval, by bootstrap (percentiles)."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of at least one value, and between what it lies when they are drawn anew."""
    values = np.asarray(values)
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(values.mean()), float(low), float(high))


def binarise(cam: np.ndarray) -> np.ndarray:
    """Where a map is above its median."""
    return cam > np.median(cam)


def iou(cam: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of a map, (H, W), binarised, and a mask of the same shape."""
    found = binarise(cam)
    return float((found & truth).sum() / max((found | truth).sum(), 1))


def chance(truth: np.ndarray) -> float:
    """What half of the pixels, drawn at random, would have on average: about the IoU by luck."""
    share = float(truth.mean())
    return share / (1 + share)


def masks_of(sample: Any, shape: tuple[int, int]) -> dict[int, np.ndarray]:
    """The ground truth of a data sample: for each class in it the pixels of its objects.

    Args:
        sample: Packed by a test pipeline with annotations: a map of labels, masks, or boxes.
        shape: Height and width of the original image, which the annotations refer to.
    """
    if 'gt_sem_seg' in sample:
        labels = sample.gt_sem_seg.data[0].numpy()
        return {int(label): labels == label for label in np.unique(labels)}
    found: dict[int, np.ndarray] = {}
    objects = sample.get('gt_instances')
    if objects is None or 'labels' not in objects:
        return found
    for label, mask in zip(objects.labels.tolist(), _outlines(objects, shape), strict=True):
        found[label] = found.get(label, False) | mask
    return found


def _outlines(objects: Any, shape: tuple[int, int]) -> Iterable[np.ndarray]:
    if 'masks' in objects:
        return objects.masks.to_ndarray().astype(bool)
    boxes = objects.bboxes
    boxes = getattr(boxes, 'tensor', boxes).tolist()
    rows, columns = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    return [(columns > x1) & (columns < x2) & (rows > y1) & (rows < y2) for x1, y1, x2, y2 in boxes]


def mask_file(folder: Path, image: str | None) -> Path:
    """The mask of an image: the file in ``folder`` with the image's name, as a PNG.

    Raises:
        UserError: If it is not there.
    """
    if image is None:
        raise UserError('--masks: the images of this data set are no files, so have no names.')
    path = folder / f'{Path(image).stem}.png'
    if not path.is_file():
        raise UserError(f'--masks: {path} does not exist; each image needs a mask of its name.')
    return path
