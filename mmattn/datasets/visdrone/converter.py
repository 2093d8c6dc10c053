"""Reading VisDrone-DET: one text file an image, eight comma-separated columns.

``left,top,width,height,score,category,truncation,occlusion`` in pixels, as the toolkit
(github.com/VisDrone/VisDrone2018-DET-toolkit) documents them. Category 0 is an ignored region, 11
'others', which the benchmark does not evaluate either. A score of 0 means 'ignored in the
evaluation': on categories 0 and 11 always, elsewhere in no official file; should it occur, the
object is converted as a crowd, which is neither missed nor false.
"""

from collections.abc import Sequence
from pathlib import Path

from mmattn.datasets.boxes import Box, Record, corners_of, parse_number, read_lines
from mmattn.datasets.converters import Converter
from mmattn.datasets.images import NO_IMAGE, SUFFIXES, list_files
from mmattn.utils.errors import UserError

CLASSES = (
    'pedestrian', 'people', 'bicycle', 'car', 'van', 'truck', 'tricycle', 'awning-tricycle',
    'bus', 'motor',
)  # fmt: skip
IGNORED_REGION = 'ignored regions'
LABELS = (IGNORED_REGION, *CLASSES, 'others')
IMAGES, ANNOTATIONS = 'images', 'annotations'

NO_ANNOTATION = 'annotation file missing'
ODD_SCORE = 'score is not a number, taken for 1'


class VisDroneConverter(Converter):
    """VisDrone's own folders below ``root``; each is a split, named by what follows 'DET-'.

    Raises UserError if there is none with images and annotations.
    """

    classes = CLASSES
    regions = (IGNORED_REGION,)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.folders: dict[str, Path] = {}
        for folder in sorted(self.root.glob('VisDrone*-DET-*')):
            # The challenge's images come without annotations.
            if not all((folder / name).is_dir() for name in (IMAGES, ANNOTATIONS)):
                continue
            split = folder.name.split('-DET-')[1]
            if split in self.folders:
                raise UserError(f'{self.folders[split]} and {folder} are both the split {split!r}.')
            self.folders[split] = folder
        if not self.folders:
            usual = 'VisDrone2019-DET-train'
            raise UserError(
                f'{self.root} holds no VisDrone data: expected {usual}/{IMAGES}/*.jpg and '
                f'{usual}/{ANNOTATIONS}/*.txt, and the same for -val.'
            )

    def splits(self) -> list[str]:
        """Such as train, val and test-dev."""
        return list(self.folders)

    def records(self, split: str) -> list[Record]:
        """Every image with or without an annotation, and every annotation without an image."""
        folder = self.folders[split]
        images = list_files(folder / IMAGES, SUFFIXES).by_stem
        texts = list_files(folder / ANNOTATIONS, ('.txt',)).by_stem
        records = []
        for name in sorted(images.keys() | texts.keys()):
            path = (folder / IMAGES / images.get(name, name)).relative_to(self.root)
            record = Record(name, path.as_posix())
            if name in texts:
                read_annotation(folder / ANNOTATIONS / texts[name], record)
            if name not in images or name not in texts:
                record.problem = NO_ANNOTATION if name in images else NO_IMAGE
            records.append(record)
        return records


def read_annotation(path: Path, record: Record) -> None:
    """Add the boxes of one file to a record; what cannot be read stays in it as an empty box."""
    for line in read_lines(path):
        # Some files end their lines with a comma.
        fields = [field.strip() for field in line.rstrip(',').split(',')]
        score = parse_number(fields[4]) if len(fields) > 4 else None
        if score is None:
            record.remarks.append(ODD_SCORE)
        label = _label(fields)
        corners = corners_of(list(map(parse_number, fields[:4])))
        record.boxes.append(Box(label, corners, crowd=score == 0 or label == IGNORED_REGION))


def _label(fields: Sequence[str]) -> str | None:
    category = parse_number(fields[5]) if len(fields) > 5 else None
    if category is None:
        return None
    return LABELS[int(category)] if category in range(len(LABELS)) else f'category {fields[5]}'


CONVERTER = VisDroneConverter
