"""Files of images that are cut off or damaged, of each kind, against those that are only odd."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmattn.datasets.soundness import CUT_OFF, DAMAGED, EMPTY, fault_of, is_cut_off

KINDS = {'jpeg': {}, 'progressive': dict(progressive=True), 'png': {}, 'webp': {}}


def encoded(kind):
    grain = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    image = Image.fromarray(grain).resize((160, 120))
    # As cameras do, with a JPEG inside the JPEG.
    thumbnail = io.BytesIO()
    image.resize((32, 24)).save(thumbnail, 'jpeg')
    exif = image.getexif()
    exif.get_ifd(0x8769)[0x927C] = thumbnail.getvalue()
    buffer = io.BytesIO()
    image.save(buffer, 'jpeg' if kind == 'progressive' else kind, exif=exif, **KINDS[kind])
    return buffer.getvalue()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def look(tmp_path):
    def look(data):
        path = tmp_path / 'image'
        path.write_bytes(data)
        return is_cut_off(path), fault_of(path)

    return look


def test_whole(kind, look):
    data = encoded(kind)
    for odd in (b'', bytes(100), b'made by a camera' * 20):
        assert look(data + odd) == (False, '')


@pytest.mark.parametrize('part', [0.05, 0.5, 0.9, 0.99, -3])
def test_cut_off(kind, look, part):
    data = encoded(kind)
    short = data[: int(part * len(data)) if part > 0 else part]
    # A file system that was switched off gives a file its size before its content.
    for rest in (short, short + bytes(len(data) - len(short))):
        cut, fault = look(rest)
        if kind == 'webp':  # its decoder notices, but not zeros
            assert fault or rest is not short
        elif part == -3 and kind != 'png':
            assert fault or not cut  # one byte before the end marker: maybe no pixel needs it
        else:
            assert (cut, fault) == (True, CUT_OFF)


def test_end_marker_left_out(look):
    """Whether that can be decoded is the decoder's affair; nothing is cut off."""
    cut, fault = look(encoded('jpeg')[:-2])
    assert not cut
    assert fault != CUT_OFF


def test_damaged_inside(look):
    data = bytearray(encoded('png'))
    data[len(data) // 2] ^= 1
    cut, fault = look(bytes(data))
    assert not cut
    assert fault


def test_checksum_of_what_no_decoder_looks_at(look):
    text, buffer = PngInfo(), io.BytesIO()
    text.add_text('Comment', 'made by hand')
    Image.new('L', (8, 8)).save(buffer, 'png', pnginfo=text)
    data = buffer.getvalue()
    assert look(data) == (False, '')
    assert look(data.replace(b'by hand', b'by feet')) == (False, DAMAGED)


def test_no_image_at_all(look, tmp_path):
    assert look(b'') == (False, EMPTY)
    assert look(b'<html>')[1]
    assert look(b'\xff\xd8\xff') == (True, CUT_OFF)
    assert fault_of(tmp_path) == 'Is a directory'
    assert fault_of(tmp_path / 'none') == 'No such file or directory'
    assert fault_of('a\0b') == 'embedded null byte'
