"""Looking at the images themselves: there, readable, and of which size."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from mmattn.datasets.boxes import Record, printable
from mmattn.utils.paths import LEADS_OUT, LeadsOut, inside

ORIENTATION_TAG = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm')

NO_IMAGE = 'image missing'
UNREADABLE = 'image unreadable'
NOT_UTF8 = 'name of the image is not UTF-8'
OTHER_SIZE = "size in the annotation differs from the image's, which was used"


class Files(NamedTuple):
    """Files below a folder, by their path without suffix and by their whole path."""

    by_stem: dict[str, str]
    by_name: set[str]


def list_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> Files:
    """Files with one of the suffixes, in any case; hidden ones left out."""
    found = (
        path
        for path in folder.rglob('*')
        if path.suffix.lower() in suffixes and not path.name.startswith('.') and path.is_file()
    )
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    # Reversed: of two files with one stem the alphabetically first is taken.
    return Files({stem_of(name): name for name in reversed(names)}, set(names))


def stem_of(name: str) -> str:
    """A name without the suffix of an image or annotation; other dots belong to the name."""
    path = PurePosixPath(name.replace('\\', '/'))
    known = path.suffix.lower() in (*SUFFIXES, '.xml', '.txt')
    return str(path.with_suffix('') if known else path)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as mmcv loads the image (turned by its EXIF orientation), of its header.

    Raises FileNotFoundError, or OSError for what is not an image that Pillow knows.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION_TAG) in QUARTER_TURNS:
                width, height = height, width
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f'{path}: not a readable image: {error}') from error
    return width, height


def check_image(record: Record, root: Path) -> None:
    """Set the record's size from its image, or its problem if there is none to read."""
    if not record.problem and printable(record.file_name) != record.file_name:
        record.problem = NOT_UTF8
    if record.problem:
        return
    try:
        size = image_size(inside(root, record.file_name))
    except LeadsOut:
        record.problem = LEADS_OUT
    except FileNotFoundError:
        record.problem = NO_IMAGE
    except OSError:
        record.problem = UNREADABLE
    else:
        if record.width is not None and (record.width, record.height) != size:
            record.remarks.append(OTHER_SIZE)
        record.width, record.height = size
