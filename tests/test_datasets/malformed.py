"""Trees of the data sets that are wrong in every way: strategies for test_malformed.py.

A tree is a dict of relative path -> bytes, or a Path that a link points to. Beside it goes what a
reader that reads all of it has to account for: the numbers of images and of objects.
"""

import io
import json
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

OUTSIDE = Path('/outside')


def _image(kind):
    buffer = io.BytesIO()
    Image.new('RGB', (40, 30), (90, 120, 30)).save(buffer, kind)
    return buffer.getvalue()


JPEG, PNG = _image('JPEG'), _image('PNG')
# Header fields that say 60,000 x 60,000.
BOMB = PNG[:16] + (60000).to_bytes(4, 'big') * 2 + PNG[24:]
ODD_IMAGES = st.sampled_from([PNG, BOMB, JPEG[:30], JPEG[:-60], b'', b'text', None])

NUMBERS = st.sampled_from(
    ['1', '9', '12.5', '-3', '0', '-0', 'nan', 'NaN', 'inf', '-Infinity', '1e400', '9' * 400]
    + ['1e308', '1e-320', '', ' 7 ', '٣', '１２', '0x10', '1_000', 'true', '1,5', '\x00', 'a b']
)  # fmt: skip
ORDINARY = st.integers(1, 39).map(str)
WORDS = st.one_of(
    st.sampled_from(
        ['cat', 'Cat', 'dog', 'car', '', ' ', '\x00', '[red]', '..', '\ud800', 'é' * 99]
    ),
    st.text(max_size=8),
)
NAMES = st.sampled_from(
    ['a', 'b', 'c', 'a.jpg', 'A', 'sub/a', '../a', '../../outside', '/outside', '/etc/passwd']
    + ['..', '.', '', 'a\x00b', 'n' * 300, 'a b', '~/x', 'C:\\x', '\ufeffa', '[a]', 'é', '\udcff']
)  # fmt: skip


def text(value):
    """As a file has it; half of a surrogate pair as the bytes that cannot be decoded."""
    return value.encode('utf-8', 'surrogatepass')


@st.composite
def damaged(draw, content):
    """A file's bytes: mostly whole, else cut off, of another encoding, or with foreign bytes."""
    data = draw(content)
    how = draw(st.integers(0, 59))
    if how == 19:
        return data[: draw(st.integers(0, len(data)))]
    if how == 20:
        at = draw(st.integers(0, len(data)))
        return data[:at] + draw(st.binary(max_size=4)) + data[at:]
    if how == 21:
        return data.decode('utf-8', 'replace').encode(draw(st.sampled_from(['utf-16', 'utf-32'])))
    if how == 22:
        return b'\xef\xbb\xbf' + data
    if how == 23:
        return data.replace(b'\n', b'\r\n\0')
    if how == 24:
        return draw(st.binary(max_size=200))
    return data


def _or(strategy, odd, often=4):
    # Hypothesis likes 0 best.
    return st.integers(0, often).flatmap(lambda n: odd if n == often else strategy)


NUMBER = _or(ORDINARY, NUMBERS)
IMAGES = _or(st.just(JPEG), ODD_IMAGES, 19)


def _numbers(draw, usual):
    return [(key, draw(_or(st.just(value), NUMBER, 9))) for key, value in usual.items()]


@st.composite
def xml(draw):
    """A VOC annotation: (bytes, number of its objects or None if that is not to be said)."""
    label = _or(st.sampled_from(['cat', 'dog']), WORDS)

    def tag(name, value):
        value = value.replace('&', '&amp;').replace('<', '&lt;')
        return draw(st.sampled_from([f'<{name}>{value}</{name}>'] * 9 + ['', f'<{name}/>']))

    objects = []
    for _ in range(draw(st.integers(0, 3))):
        usual = dict(xmin='3', ymin='4', xmax='30', ymax='25')
        corners = ''.join(tag(*each) for each in _numbers(draw, usual))
        inside = tag('name', draw(label)) + tag('difficult', draw(NUMBER))
        objects.append(f'<object>{inside}<bndbox>{corners}</bndbox></object>')
    size = tag('width', draw(NUMBER)) + tag('height', draw(NUMBER))
    head = tag('filename', draw(NAMES)) + f'<size>{size}</size>'
    body = f'<annotation>{head}{"".join(objects)}</annotation>'
    how = draw(st.integers(0, 40))
    if how == 26:
        entities = '<!ENTITY a "lol">' + ''.join(
            f'<!ENTITY {new} "{f"&{old};" * 10}">'
            for old, new in zip('abcdefgh', 'bcdefghi', strict=True)
        )
        body = f'<!DOCTYPE x [{entities}]>{body.replace("<object>", "<object><name>&i;</name>")}'
    elif how == 27:
        body = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{body.replace("cat", "&e;")}'
    elif how == 28:
        body = body.replace('</annotation>', '<a>' * 20000 + '</a>' * 20000 + '</annotation>')
    elif how == 29:
        codec = draw(st.sampled_from(['latin-1', 'utf-7', 'nonsense', 'gb18030', 'utf-16', 'idna']))
        body = f'<?xml version="1.0" encoding="{codec}"?>{body}'
    elif how == 30:
        body = body.replace('annotation>', 'annotations>')
    data = draw(damaged(st.just(text(body))))
    return data, len(objects) if data == text(body) else None


@st.composite
def voc(draw):
    files, objects, counted = {}, 0, True
    names = draw(st.lists(st.sampled_from('abcd'), unique=True, min_size=1))
    for name in names:
        data, number = draw(xml())
        files[f'Annotations/{name}.xml'] = data
        counted, objects = counted and number is not None, objects + (number or 0)
        image = draw(IMAGES)
        if image is not None:
            files[f'JPEGImages/{name}.jpg'] = image
    if draw(st.booleans()):
        lines = draw(st.lists(_or(st.sampled_from('abcd'), NAMES), max_size=5))
        content = text('\n'.join(lines))
        files['ImageSets/Main/train.txt'] = draw(damaged(st.just(content)))
        return files, None
    return files, (len(names), objects) if counted else None


VISDRONE_ROW = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, st.sampled_from('01'), ORDINARY)


@st.composite
def visdrone(draw):
    files, objects, counted = {}, 0, True
    root = 'VisDrone2019-DET-train'
    names = draw(st.lists(st.sampled_from('abcd'), unique=True, min_size=1))
    for name in names:
        row = st.one_of(st.lists(NUMBER, min_size=1, max_size=9), VISDRONE_ROW)
        rows = draw(st.lists(row, max_size=4))
        content = text('\n'.join(','.join(row) for row in rows))
        data = draw(damaged(st.just(content)))
        files[f'{root}/annotations/{name}.txt'] = data
        counted = counted and data == content and b'\0' not in data
        objects += sum(bool(','.join(row).strip()) for row in rows)
        image = draw(IMAGES)
        if image is not None:
            files[f'{root}/images/{name}.jpg'] = image
    files.setdefault(f'{root}/images/.keep', b'')
    return files, (len(names), objects) if counted else None


@st.composite
def exdark(draw):
    files, listed, counted = {}, [], True
    for name in draw(st.lists(st.sampled_from('abcd'), unique=True, min_size=1)):
        rows = draw(
            st.lists(
                st.tuples(
                    _or(st.sampled_from(['Car', 'Dog']), WORDS), st.lists(NUMBER, min_size=3)
                ),
                max_size=4,
            )
        )
        lines = [' '.join([label, *numbers]) for label, numbers in rows]
        head = draw(st.sampled_from(['% bbGt version=3'] * 9 + ['', '% bbGt version=2']))
        content = text('\n'.join([head, *lines]))
        files[f'ExDark_Annno/Car/{name}.jpg.txt'] = data = draw(damaged(st.just(content)))
        image = draw(IMAGES)
        if image is not None:
            files[f'ExDark/Car/{name}.jpg'] = image
        listed.append(f'{name}.jpg 1 1 1 1')
        counted = counted and data == content
    odd = st.tuples(NAMES, NUMBER, NUMBER).map(lambda row: f'{row[0]} {row[1]} 1 1 {row[2]}')
    if draw(st.integers(0, 4)) == 4:
        listed += draw(st.lists(odd, max_size=2))
        counted = False
    content = text('\n'.join(['Name | Class', *listed]))
    files['imageclasslist.txt'] = data = draw(damaged(st.just(content)))
    return files, (len(listed), None) if counted and data == content else None


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), WORDS, NAMES,
        st.sampled_from([10**400, -1, 0, 2**63]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@st.composite
def flir(draw):
    files, root = {}, 'images_thermal_train'

    def entry(**fields):
        fields = {key: draw(_or(st.just(value), JSON, 29)) for key, value in fields.items()}
        for key in draw(st.lists(st.sampled_from(sorted(fields)), max_size=1)):
            if draw(st.integers(0, 4)) == 4:
                del fields[key]
        return fields

    images, annotations = [], []
    for number in range(draw(st.integers(1, 3))):
        image = draw(IMAGES)
        name = draw(_or(st.just(f'data/{number}.jpg'), NAMES))
        images.append(entry(id=number, file_name=name, width=40, height=30))
        if image is not None:
            files[f'{root}/data/{number}.jpg'] = image
        for _ in range(draw(st.integers(0, 3))):
            box = draw(st.lists(_or(st.integers(0, 30), JSON, 19), min_size=4, max_size=4))
            key = len(annotations)
            fields = dict(id=key, image_id=number, category_id=3, bbox=box, iscrowd=0)
            annotations.append(entry(**fields))
    content = dict(images=images, annotations=annotations, categories=[entry(id=3, name='car')])
    if draw(st.integers(0, 9)) == 9:
        content[draw(st.sampled_from(sorted(content)))] = draw(JSON)
    try:
        encoded = json.dumps(content).encode()
    except ValueError:  # an integer of too many digits
        encoded = b'[' * 100000
    files[f'{root}/coco.json'] = data = draw(damaged(st.just(encoded)))
    whole = data == encoded and all(isinstance(content[k], list) for k in ('images', 'annotations'))
    return files, (None, len(content['annotations'])) if whole else None


TREES = {'voc': voc(), 'visdrone': visdrone(), 'exdark': exdark(), 'flir': flir()}
