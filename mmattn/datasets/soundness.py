"""Whether the file of an image is whole: decoders fill in what is missing without a word.

libjpeg paints the rest of a file that was cut off grey, and says so on standard error only.
"""

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

JPEG, JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
START_OF_SCAN, RESTARTS = 0xDA, range(0xD0, 0xD8)
PNG, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
TAIL = 64
# Scan data without markers: what is decoded from it looks like nothing that was there before.
FILLER = bytes(range(1, 255)) * 8

CUT_OFF = 'cut off, the end of the image is missing'
DAMAGED = 'damaged, a checksum is wrong'
NOT_DECODED = 'not an image that can be decoded'
EMPTY = 'empty'


def is_cut_off(path: str | Path) -> bool:
    """Whether the end of a JPEG or PNG file is missing; reads its two ends only, as a rule.

    Raises OSError if the file cannot be read.
    """
    with open(path, 'rb') as file:
        head = file.read(len(PNG))
        if not head.startswith((JPEG, PNG)):
            return False
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        # Some writers pad with zeros.
        tail = file.read().rstrip(b'\0')
        if tail.endswith(JPEG_END if head.startswith(JPEG) else PNG_END):
            return False
        file.seek(0)
        data = file.read()
    return not _ends(data)


def fault_of(path: str | Path, decode: bool = True) -> str:
    """What is wrong with an image file, '' if nothing is found.

    Args:
        path: Of a file that holds an image, whatever its suffix.
        decode: Also decode it, to see whether that works.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # a name with a NUL byte
        return getattr(error, 'strerror', None) or str(error)
    if not data:
        return EMPTY
    if data.startswith((JPEG, PNG)) and not _ends(data):
        return CUT_OFF
    if decode and not _decodes(data, path):
        return NOT_DECODED
    return DAMAGED if data.startswith(PNG) and not _sums_are_right(data) else ''


def _ends(data: bytes) -> bool:
    """Whether the end of a JPEG or PNG image is there, maybe with something behind it."""
    if data.startswith(PNG):
        return PNG_END in data
    scan = _scan(data)
    if scan is None:
        return False
    if data.find(JPEG_END, scan) >= 0:
        return True
    # Sloppy writers leave the end marker out. The pixels are all there if whatever follows makes
    # no difference to them. A file that was being written may end in a page of zeros.
    data = data.rstrip(b'\0').rstrip(b'\xff')
    pictures = [_decoded(data + more + JPEG_END) for more in (b'', FILLER)]
    return pictures[0] is not None and np.array_equal(*pictures)


def _scan(data: bytes) -> int | None:
    """Where the scan data of a JPEG begin, behind the thumbnails of the header; None if nowhere."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == START_OF_SCAN:
            return at
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind in RESTARTS or kind == 0x01:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    return None


def _sums_are_right(data: bytes) -> bool:
    at = len(PNG)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], 'big')
        body, end = data[at + 4 : at + 8 + size], at + 12 + size
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], 'big'):
            return False
        if body.startswith(b'IEND'):
            return True
        at = end
    return False


def _decodes(data: bytes, path: str | Path) -> bool:
    """Whether OpenCV or, for what it does not know, Pillow decodes an image."""
    if _decoded(data) is not None:
        return True
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError):
        return False
    return True


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than OpenCV reads
        return None
