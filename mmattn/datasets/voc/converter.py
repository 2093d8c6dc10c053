"""Reading trees laid out as Pascal VOC.

VOC's coordinates are 1-based and inclusive. As in mmdet's XMLDataset 1 is subtracted from all
four, so that (1, 1, 10, 10) becomes x=0, y=0, width=9, height=9, and a model sees the same boxes
through xml files and json; the half pixel lost on each side is below what annotators agree on.

``difficult`` becomes COCO's ``iscrowd``, as in mmdet's own converter: both evaluations count such
an object neither as missed nor, when found, as false, and mmdet leaves it out of training.
``ignore`` would do neither: pycocotools overwrites it, and mmdet learns it as background.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from mmattn.datasets.boxes import LISTED_TWICE, Box, Record, parse_number, read_lines
from mmattn.datasets.converters import ALL, Converter
from mmattn.datasets.images import NO_IMAGE, SUFFIXES, list_files, stem_of
from mmattn.utils.errors import UserError
from mmattn.utils.paths import inside

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')

NO_XML = 'xml missing'
NO_SIZE = "no usable <size>, the image's was used"
ODD_DIFFICULT = '<difficult> is not a number, taken for 0'


def parse_xml(path: Path) -> Record:
    """Read one annotation file; ``file_name`` is what it says, '' if it says none.

    All objects are in it, also those without a name or a box. Raises UserError if the file is
    not xml, or not an annotation.
    """
    root = _read_xml(path)
    if root.tag != 'annotation':
        raise UserError(f'{path}: a VOC file begins with <annotation>, this one with <{root.tag}>.')
    record = Record(path.stem, (root.findtext('filename') or '').strip())
    size = [parse_number(root.findtext(f'size/{side}')) for side in ('width', 'height')]
    # Labelling tools write 0 when they could not open the image.
    if all(value is not None and 1 <= value < float('inf') for value in size):
        record.width, record.height = map(int, size)
    else:
        record.remarks.append(NO_SIZE)
    for node in root.findall('object'):
        label = (node.findtext('name') or '').strip() or None
        corners = [parse_number(node.findtext(f'bndbox/{key}')) for key in CORNERS]
        corners = None if None in corners else tuple(value - 1 for value in corners)
        difficult = parse_number((node.findtext('difficult') or '0').strip())
        if difficult is None:
            record.remarks.append(ODD_DIFFICULT)
        record.boxes.append(Box(label, corners, crowd=bool(difficult)))
    return record


def _read_xml(path: Path) -> Element:
    """The root of an xml file that defines no entities: they can grow without bounds."""

    def refuse(name: str, *_: object) -> None:
        raise UserError(f'{path}: defines the entity {name!r}, which no annotation needs.')

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, refuse
    try:
        parser.Parse(path.read_bytes(), True)
    # LookupError and ValueError: an encoding that Python does not know, or cannot use here.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise UserError(f'{path}: not well-formed xml: {error}') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read: {error.strerror}.') from error
    return builder.close()


def read_split_file(path: Path) -> list[str]:
    """Names listed in an ImageSets file, one a line.

    Raises UserError if it is missing, empty, one of VOC's lists of a single class, or has a name
    that leads to another folder.
    """
    if not path.is_file():
        raise UserError(f'{path} does not exist; it lists the images of a split, one name a line.')
    lines = read_lines(path)
    if not lines:
        raise UserError(f'{path} lists no image.')
    if _is_class_list(lines):
        raise UserError(
            f'{path} has a second column of -1, 0 and 1: it is about a single class, not a split.'
        )
    for line in lines:
        inside(path.parent, line)
    return [stem_of(line) for line in lines]


def _is_class_list(lines: Sequence[str]) -> bool:
    columns = [line.rsplit(maxsplit=1)[1:] for line in lines]
    return bool(columns) and all(rest in (['-1'], ['0'], ['1']) for rest in columns)


class VOCTree:
    """A folder with images and xml files of the same names, in subfolders or the same one.

    The records' file names are relative to ``base``, the root unless told. Raises UserError if
    one of the folders does not exist.
    """

    def __init__(
        self,
        root: Path,
        img_subdir: str = 'JPEGImages',
        ann_subdir: str = 'Annotations',
        base: Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.ann_dir = self.root / ann_subdir
        for folder in (self.root, self.root / img_subdir, self.ann_dir):
            if not folder.is_dir():
                what = 'is not a folder' if folder.exists() else 'does not exist'
                raise UserError(
                    f'{folder} {what}; a VOC-style tree has ROOT/{ann_subdir}/NAME.xml and '
                    f'ROOT/{img_subdir}/NAME.jpg.'
                )
        self._prefix = self.root.relative_to(base or self.root) / img_subdir
        self._images = list_files(self.root / img_subdir, SUFFIXES)
        self._xmls = list_files(self.ann_dir, ('.xml',)).by_stem
        sets = self.root / 'ImageSets'
        lists = sorted((sets / 'Main').glob('*.txt')) or sorted(sets.glob('*.txt'))
        self._lists = {path.stem: path for path in lists}

    def splits(self) -> list[str]:
        """Names of the splits; [] in a tree without ImageSets."""
        return [name for name, path in self._lists.items() if not _is_class_list(read_lines(path))]

    def names(self, split: str) -> list[str]:
        """Image names of a split; ALL: every annotated or unannotated image."""
        if split == ALL and ALL not in self.splits():
            return sorted({*self._xmls, *self._images.by_stem})
        return read_split_file(self._lists[split])

    def file_names(self) -> list[str]:
        """Paths of all images, relative to the base."""
        return [(self._prefix / name).as_posix() for name in sorted(self._images.by_name)]

    def records(self, names: Iterable[str]) -> list[Record]:
        """Read annotations; a name given twice is read once, and remarked on."""
        records = []
        for name, times in Counter(names).items():
            record = self._record(name)
            record.remarks += [LISTED_TWICE] * (times - 1)
            records.append(record)
        return records

    def _record(self, name: str) -> Record:
        if name not in self._xmls:
            image = self._images.by_stem.get(name, name)
            return Record(name, (self._prefix / image).as_posix(), problem=NO_XML)
        record = parse_xml(self.ann_dir / self._xmls[name])
        # <filename> is often stale (renamed files, another suffix), so the xml's own name
        # comes first, unless <filename> tells apart two images that share it.
        image = record.file_name if record.file_name in self._images.by_name else None
        if image is None or stem_of(image) != name:
            image = self._images.by_stem.get(name, image)
        record.name = name
        record.file_name = (self._prefix / (image or name)).as_posix()
        record.problem = '' if image else NO_IMAGE
        return record


class VOCConverter(Converter):
    """The tree at ``root``, or those of a devkit: ``root/VOC2007``, ``root/VOC2012``.

    A devkit's years are joined. A tree without ImageSets has the one split 'all'. Raises
    UserError if a folder is missing.
    """

    def __init__(
        self, root: Path, img_subdir: str = 'JPEGImages', ann_subdir: str = 'Annotations'
    ) -> None:
        super().__init__(root)
        folders = [self.root]
        if not (self.root / ann_subdir).is_dir():
            years = sorted(self.root.glob('VOC*'))
            folders = [year for year in years if (year / ann_subdir).is_dir()] or folders
        self.trees = [VOCTree(folder, img_subdir, ann_subdir, self.root) for folder in folders]

    def splits(self) -> list[str]:
        """Names of the splits of any year."""
        return sorted({split for tree in self.trees for split in tree.splits()}) or [ALL]

    def records(self, split: str) -> list[Record]:
        """The images of a split, of all years that have it."""
        having = [tree for tree in self.trees if split in (tree.splits() or [ALL])]
        return [record for tree in having for record in tree.records(tree.names(split))]

    def file_names(self) -> list[str]:
        """All images on disk, relative to the root."""
        return [name for tree in self.trees for name in tree.file_names()]


CONVERTER = VOCConverter
