"""Boxes as the readers yield them, and the one place that clips, drops and counts them."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

# mmdet's CocoDataset leaves out thinner boxes without a word, so they are counted here.
MIN_SIDE = 1.0
EXAMPLES = 3

NO_BOX = 'no readable box'
NO_CLASS = 'no class name'
NOT_FINITE = 'coordinates not finite'
DEGENERATE = 'zero or negative area'
OUTSIDE = 'outside the image'
TOO_THIN = 'thinner than a pixel inside the image'
OTHER_CLASS = 'class not asked for'
IMAGE_DROPPED = 'on a dropped image'
CLIPPED = 'clipped at the image border'
LISTED_TWICE = 'listed more than once, used once'


@dataclass
class Box:
    """One annotated object.

    Args:
        label: Class name; None if the annotation has none.
        corners: x1, y1, x2, y2 in pixels from the image's top left corner,
            width = x2 - x1; None if the annotation holds no readable box.
        crowd: True for what is neither to be found nor to be learnt as background.
    """

    label: str | None
    corners: tuple[float, float, float, float] | None
    crowd: bool = False


@dataclass
class Record:
    """One image and its boxes as a reader found them.

    Args:
        name: What reports call it.
        file_name: The image's path relative to the data root.
        width: In pixels; None if unknown.
        height: In pixels; None if unknown.
        boxes: Every object of the annotation, unfiltered.
        problem: Why the image cannot be used; '' if it can.
        remarks: What was odd but did no harm.
    """

    name: str
    file_name: str
    width: int | None = None
    height: int | None = None
    boxes: list[Box] = field(default_factory=list)
    problem: str = ''
    remarks: list[str] = field(default_factory=list)


class Tally:
    """Counts of what was read, kept, changed and dropped, with a few names of each."""

    def __init__(self) -> None:
        self.images_read = 0
        self.boxes_read = 0
        self.images = 0
        self.boxes: Counter[str] = Counter()
        self.crowd = 0
        self.images_without_boxes = 0
        self.dropped_images: Counter[str] = Counter()
        self.dropped_boxes: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        self.other_classes: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def _example(self, reason: str, name: str) -> None:
        if len(self.examples[reason]) < EXAMPLES and name not in self.examples[reason]:
            self.examples[reason].append(name)

    def drop_image(self, record: Record) -> None:
        self.images_read += 1
        self.boxes_read += len(record.boxes)
        self.dropped_images[record.problem] += 1
        self.dropped_boxes[IMAGE_DROPPED] += len(record.boxes)
        self._example(record.problem, record.name)

    def drop_box(self, reason: str, record: Record, box: Box) -> None:
        self.dropped_boxes[reason] += 1
        if reason == OTHER_CLASS:
            self.other_classes[box.label] += 1
        self._example(reason, record.name)

    def remark(self, remark: str, name: str) -> None:
        self.remarks[remark] += 1
        self._example(remark, name)

    def check(self) -> None:
        """Raise RuntimeError unless every image and box read is either kept or counted."""
        boxes = self.boxes.total() + self.dropped_boxes.total()
        images = self.images + self.dropped_images.total()
        if (boxes, images) != (self.boxes_read, self.images_read):
            raise RuntimeError(
                f'a fault of the converter: {self.images_read} images and {self.boxes_read} '
                f'boxes were read, {images} and {boxes} are accounted for.'
            )


def parse_number(text: str | None) -> float | None:
    """The number that a field of an annotation file holds; None if it holds none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def clean_box(
    box: Box, width: int, height: int, classes: Sequence[str]
) -> tuple[tuple[float, float, float, float] | None, str]:
    """Clip a box to ``[0, width] x [0, height]``.

    Returns:
        The corners to use and '' or CLIPPED; or None and the reason to drop it.
    """
    if box.label is None:
        return None, NO_CLASS
    if box.label not in classes:
        return None, OTHER_CLASS
    if box.corners is None:
        return None, NO_BOX
    if not all(map(math.isfinite, box.corners)):
        return None, NOT_FINITE
    x1, y1, x2, y2 = box.corners
    if x2 <= x1 or y2 <= y1:
        return None, DEGENERATE
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        return None, OUTSIDE
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if min(inside[2] - inside[0], inside[3] - inside[1]) < MIN_SIDE:
        return None, TOO_THIN
    return inside, CLIPPED if inside != box.corners else ''


def clean_record(record: Record, classes: Sequence[str], tally: Tally) -> list[Box] | None:
    """Clip and drop the boxes of one image, counting all of it.

    Args:
        record: An image whose size is known, unless it has a problem.
        classes: The class names to keep.
        tally: Counts; changed in place.

    Returns:
        The boxes to use, as new objects; None if the image cannot be used.
    """
    for remark in record.remarks:
        tally.remark(remark, record.name)
    if record.problem:
        tally.drop_image(record)
        return None
    tally.images_read += 1
    tally.boxes_read += len(record.boxes)
    tally.images += 1
    kept = []
    for box in record.boxes:
        corners, reason = clean_box(box, record.width, record.height, classes)
        if corners is None:
            tally.drop_box(reason, record, box)
            continue
        if reason:
            tally.remark(reason, record.name)
        tally.boxes[box.label] += 1
        tally.crowd += box.crowd
        kept.append(Box(box.label, corners, box.crowd))
    tally.images_without_boxes += not kept
    return kept
