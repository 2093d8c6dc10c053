"""Boxes as the readers yield them, and the one place that clips, drops and counts them."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmattn.utils.errors import UserError

Corners = tuple[float, float, float, float]

# mmdet's CocoDataset leaves out thinner boxes without a word, so they are counted here.
MIN_SIDE = 1.0
EXAMPLES = 3
# More pixels than any image has; sums of such numbers are finite.
FARTHEST = 1e15

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
    """One annotated object; None stands for a class or a box that cannot be read."""

    label: str | None
    # x1, y1, x2, y2 in pixels from the image's top left corner, width = x2 - x1.
    corners: Corners | None
    # Neither to be found nor to be learnt as background.
    crowd: bool = False


@dataclass
class Record:
    """One image and its boxes as a reader found them, unfiltered; its size None if unknown."""

    name: str  # what reports call it
    file_name: str  # relative to the data root
    width: int | None = None
    height: int | None = None
    boxes: list[Box] = field(default_factory=list)
    problem: str = ''  # why the image cannot be used
    remarks: list[str] = field(default_factory=list)  # what was odd but did no harm


class Tally:
    """Counts of what was read, kept, changed and dropped, with a few names of each."""

    def __init__(self) -> None:
        self.images_read = self.images = self.images_without_boxes = 0
        self.boxes_read = self.crowd = 0
        self.boxes: Counter[str] = Counter()
        self.dropped_images: Counter[str] = Counter()
        self.dropped_boxes: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        self.other_classes: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def count(self, counter: Counter[str], reason: str, name: str) -> None:
        """Add one to a counter, with the name of the image as an example."""
        counter[reason] += 1
        name = printable(name)
        if len(self.examples[reason]) < EXAMPLES and name not in self.examples[reason]:
            self.examples[reason].append(name)

    def check(self) -> None:
        """Raise RuntimeError unless every image and box read is either kept or counted."""
        boxes = self.boxes.total() + self.dropped_boxes.total()
        images = self.images + self.dropped_images.total()
        if (boxes, images) != (self.boxes_read, self.images_read):
            raise RuntimeError(
                f'a fault of the converter: {self.images_read} images and {self.boxes_read} '
                f'boxes were read, {images} and {boxes} are accounted for.'
            )


def printable(text: str) -> str:
    """Text as a terminal and UTF-8 can have it: some file names and json strings are neither."""
    return text.encode(errors='backslashreplace').decode()


def read_lines(path: Path) -> list[str]:
    """The lines of a file, stripped, without empty ones; raises UserError if it is not text."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not UTF-8 text: {error}') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read: {error.strerror}.') from error
    return [line.strip() for line in lines if line.strip()]


def parse_number(text: str | None) -> float | None:
    """The number that a field of an annotation file holds; None if it holds none."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def corners_of(box: Sequence[float | None]) -> Corners | None:
    """Corners of a box left, top, width, height; None unless these are four numbers."""
    if len(box) != 4 or not all(isinstance(value, (int, float)) for value in box):
        return None
    if any(abs(value) > FARTHEST for value in box):  # maybe an integer that no float can hold
        return (math.inf,) * 4
    left, top, width, height = box
    return left, top, left + width, top + height


def clean_box(
    box: Box, width: int, height: int, classes: Sequence[str]
) -> tuple[Corners | None, str]:
    """The box clipped to ``[0, width] x [0, height]``, '' or CLIPPED; or None and the reason."""
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
    """Clip and drop the boxes of one image, counting all of it in the tally.

    Returns:
        The boxes of the classes, as new objects; None if the image cannot be used.
    """
    tally.images_read += 1
    tally.boxes_read += len(record.boxes)
    for remark in record.remarks:
        tally.count(tally.remarks, remark, record.name)
    if record.problem:
        tally.count(tally.dropped_images, record.problem, record.name)
        tally.dropped_boxes[IMAGE_DROPPED] += len(record.boxes)
        return None
    tally.images += 1
    kept = []
    for box in record.boxes:
        corners, reason = clean_box(box, record.width, record.height, classes)
        if corners is None:
            tally.count(tally.dropped_boxes, reason, record.name)
            if reason == OTHER_CLASS:
                tally.other_classes[printable(box.label)] += 1
            continue
        if reason:
            tally.count(tally.remarks, reason, record.name)
        tally.boxes[box.label] += 1
        tally.crowd += box.crowd
        kept.append(Box(box.label, corners, box.crowd))
    tally.images_without_boxes += not kept
    return kept
