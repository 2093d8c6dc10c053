"""Reading ExDark: images and bbGt files in a folder a class, and one list with the splits.

The list (github.com/cs-chan/Exclusively-Dark-Image-Dataset, Groundtruth) has the columns name,
class, light, indoor or outdoor, split. An annotation is named after its image, suffix included
(2015_00001.png.txt), and begins with ``% bbGt version=3``; its lines are ``Class left top width
height`` in pixels and seven unused columns. List and folders differ in the case of suffixes.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

from mmattn.datasets.boxes import (
    LISTED_TWICE,
    Box,
    Record,
    corners_of,
    parse_number,
    read_lines,
)
from mmattn.datasets.converters import Converter
from mmattn.datasets.images import NO_IMAGE, SUFFIXES, list_files, stem_of
from mmattn.utils.errors import UserError

CLASSES = (
    'Bicycle', 'Boat', 'Bottle', 'Bus', 'Car', 'Cat', 'Chair', 'Cup', 'Dog', 'Motorbike',
    'People', 'Table',
)  # fmt: skip
# Numbered from 1 in the list.
SPLITS = ('train', 'val', 'test')
LIST, IMAGES, ANNOTATIONS = 'imageclasslist.txt', 'ExDark', 'ExDark_Annno'
HEADER = '% bbGt version=3'

NO_ANNOTATION = 'annotation file missing'
OTHER_FORMAT = f'annotation does not begin with {HEADER!r}'
OTHER_NAME = 'the list spells the name differently, found by its stem'


class ExDarkConverter(Converter):
    """The tree ExDark/CLASS/*, ExDark_Annno/CLASS/*.txt, imageclasslist.txt below ``root``.

    Any folders below those of the images and of the annotations are searched. Raises UserError
    if the list is missing or malformed.
    """

    classes = CLASSES

    def __init__(
        self,
        root: Path,
        img_subdir: str = IMAGES,
        ann_subdir: str = ANNOTATIONS,
        list_file: str = LIST,
    ) -> None:
        super().__init__(root)
        self.img_subdir = img_subdir
        self.ann_subdir = ann_subdir
        self.names = read_list(self.root / list_file)
        self._images = list_files(self.root / img_subdir, SUFFIXES).by_name
        self._image_of = _by_stem(self._images)
        self._text_of = _by_stem(list_files(self.root / ann_subdir, ('.txt',)).by_name)

    def splits(self) -> list[str]:
        """Train, val and test, as far as the list has images of them."""
        return [split for split in SPLITS if self.names[split]]

    def records(self, split: str) -> list[Record]:
        """The listed images; a name listed twice is read once, and remarked on."""
        records = []
        for name, times in Counter(self.names[split]).items():
            stem = stem_of(name)
            image = self._image_of.get(stem)
            record = Record(stem, f'{self.img_subdir}/{image or name}')
            record.remarks += [LISTED_TWICE] * (times - 1)
            if image and PurePosixPath(image).name != name:
                record.remarks.append(OTHER_NAME)
            if stem in self._text_of:
                read_annotation(self.root / self.ann_subdir / self._text_of[stem], record)
            else:
                record.problem = NO_ANNOTATION
            record.problem = record.problem if image else NO_IMAGE
            records.append(record)
        return records

    def file_names(self) -> list[str]:
        """All images on disk, relative to the root."""
        return [f'{self.img_subdir}/{name}' for name in sorted(self._images)]


def _by_stem(names: set[str]) -> dict[str, str]:
    """Paths by the bare name of the image they belong to: without folder and suffixes."""
    # Reversed: of two files with one stem the alphabetically first is taken.
    paths = map(PurePosixPath, sorted(names, reverse=True))
    # Twice, since annotations are called NAME.jpg.txt.
    return {stem_of(stem_of(path.name)): str(path) for path in paths}


def read_list(path: Path) -> dict[str, list[str]]:
    """Image names of each split; raises UserError for a missing file or a line of other columns."""
    if not path.is_file():
        raise UserError(
            f'{path} does not exist; it lists the images of ExDark and their splits, and comes '
            f'beside the folders {IMAGES} and {ANNOTATIONS}.'
        )
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    # The first line names the columns.
    for number, line in enumerate(read_lines(path)[1:], start=2):
        fields = line.split()
        if len(fields) != 5 or fields[4] not in ('1', '2', '3'):
            raise UserError(
                f'{path}, line {number}: {line!r}; expected a name, class, light, indoor '
                'or outdoor and the split (1 train, 2 val, 3 test).'
            )
        names[SPLITS[int(fields[4]) - 1]].append(fields[0])
    return names


def read_annotation(path: Path, record: Record) -> None:
    """Add the boxes of one file to a record, or say in it why the file cannot be used."""
    lines = path.read_text(encoding='utf-8-sig', errors='replace').splitlines()
    if not lines or lines[0].strip() != HEADER:
        record.problem = OTHER_FORMAT
        return
    for line in lines[1:]:
        fields = line.split()
        if not fields:
            continue
        record.boxes.append(Box(fields[0], corners_of(list(map(parse_number, fields[1:5])))))


CONVERTER = ExDarkConverter
