"""ExDark's bbGt files and its list of splits as COCO."""

import re

import pytest
from PIL import Image

from mmattn.datasets import boxes, images
from mmattn.datasets.exdark import converter as exdark
from mmattn.datasets.exdark.converter import ExDarkConverter
from mmattn.utils.errors import UserError

HEADER = '% bbGt version=3'
BOX = 'Bicycle 10 20 30 40 0 0 0 0 0 0 0'
COLUMNS = 'Name | Class | Light | In/Out | Train/Val/Test'


@pytest.fixture
def write_tree(tmp_path):
    """Write {listed name: (name on disk, annotation lines or None, split)}; gives the root."""

    def write(files):
        rows = [COLUMNS]
        for listed, (name, lines, split) in files.items():
            rows.append(f'{listed} 1 2 1 {split}')
            if name is not None:
                path = tmp_path / 'ExDark' / 'Bicycle' / name
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGB', (100, 80), (30, 30, 30)).save(path)
            if lines is not None:
                path = tmp_path / 'ExDark_Annno' / 'Bicycle' / f'{name or listed}.txt'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text('\n'.join(lines) + '\n')
        # As the original: lines end with CR LF.
        (tmp_path / 'imageclasslist.txt').write_bytes('\r\n'.join(rows).encode() + b'\r\n')
        return tmp_path

    return write


def test_coco_fields_and_splits(write_tree):
    root = write_tree(
        {
            'a.jpg': ('a.jpg', [HEADER, BOX, 'Table 1 2 3 4 0 0 0 0 0 0 0'], 1),
            'b.png': ('b.png', [HEADER, BOX], 3),
        }
    )
    results, _, _ = ExDarkConverter(root).to_coco()
    assert list(results) == ['train', 'test']
    train = results['train']
    assert train['images'] == [
        {'id': 1, 'file_name': 'ExDark/Bicycle/a.jpg', 'width': 100, 'height': 80}
    ]
    assert [(each['category_id'], each['bbox']) for each in train['annotations']] == [
        (1, [10, 20, 30, 40]),
        (12, [1, 2, 3, 4]),
    ]
    assert [category['name'] for category in train['categories']] == list(exdark.CLASSES)


def test_every_oddity_is_kept_or_counted(write_tree):
    lines = [
        HEADER,
        'People 10.5 20.5 30 40 0 0 0 0 0 0 0',
        'Cup 10 20 0 40 0 0 0 0 0 0 0',
        'Cup 90 70 30 30 0 0 0 0 0 0 0',
        'Cup 200 70 30 30 0 0 0 0 0 0 0',
        'Cup ten 70 30 30 0 0 0 0 0 0 0',
        'Cup 10 70',
        'Lamp 10 20 30 40 0 0 0 0 0 0 0',
        '',
    ]
    root = write_tree({'a.jpg': ('a.jpg', lines, 1)})
    results, tallies, _ = ExDarkConverter(root).to_coco()
    tally = tallies['train']
    assert [each['bbox'] for each in results['train']['annotations']] == [
        [10.5, 20.5, 30, 40],
        [90, 70, 10, 10],
    ]
    assert tally.dropped_boxes == {
        boxes.DEGENERATE: 1,
        boxes.OUTSIDE: 1,
        boxes.NO_BOX: 2,
        boxes.OTHER_CLASS: 1,
    }
    assert tally.other_classes == {'Lamp': 1}
    assert tally.remarks == {boxes.CLIPPED: 1}


def test_suffixes_in_any_case_and_missing_files(write_tree):
    root = write_tree(
        {
            'a.JPG': ('a.jpg', [HEADER, BOX], 1),
            'b.jpeg': ('b.JPEG', [HEADER, BOX], 1),
            'c.png': ('c.png', [HEADER, BOX], 1),
            'no_text.jpg': ('no_text.jpg', None, 1),
            'no_image.jpg': (None, [HEADER, BOX], 1),
            'other.jpg': ('other.jpg', [BOX], 1),
        }
    )
    Image.new('RGB', (9, 9)).save(root / 'ExDark' / 'Bicycle' / 'unlisted.jpg')
    (root / 'ExDark' / 'Bicycle' / '._a.jpg').write_bytes(b'left by a Mac')
    results, tallies, notes = ExDarkConverter(root).to_coco()
    tally = tallies['train']
    assert [image['file_name'] for image in results['train']['images']] == [
        'ExDark/Bicycle/a.jpg',
        'ExDark/Bicycle/b.JPEG',
        'ExDark/Bicycle/c.png',
    ]
    assert tally.remarks == {exdark.OTHER_NAME: 2}
    assert tally.dropped_images == {
        exdark.NO_ANNOTATION: 1,
        images.NO_IMAGE: 1,
        exdark.OTHER_FORMAT: 1,
    }
    assert tally.dropped_boxes == {boxes.IMAGE_DROPPED: 1}
    assert '1 images are in no split, such as ExDark/Bicycle/unlisted.jpg' in notes


def test_a_name_listed_twice_is_used_once(write_tree):
    root = write_tree({'a.jpg': ('a.jpg', [HEADER, BOX], 1)})
    path = root / 'imageclasslist.txt'
    path.write_text(path.read_text() + '\na.jpg 1 2 1 1\na.jpg 1 2 1 2\n')
    results, tallies, notes = ExDarkConverter(root).to_coco()
    assert len(results['train']['images']) == 1
    assert tallies['train'].remarks == {boxes.LISTED_TWICE: 1}
    assert '1 images are in train as well as in val, such as ExDark/Bicycle/a.jpg' in notes


@pytest.mark.parametrize('line', ['a.jpg 1 2 1', 'a.jpg 1 2 1 4', 'a b.jpg 1 2 1 1'])
def test_a_malformed_list_is_refused_by_line(tmp_path, line):
    path = tmp_path / 'imageclasslist.txt'
    path.write_text(f'{COLUMNS}\n{line}\n')
    with pytest.raises(UserError, match=r'imageclasslist\.txt, line 2: .*1 train, 2 val'):
        exdark.read_list(path)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(UserError, match=r'imageclasslist\.txt does not exist'):
        ExDarkConverter(tmp_path)


def test_the_real_list(shared_dir):
    names = exdark.read_list(shared_dir / 'data' / 'exdark' / 'imageclasslist.txt')
    assert {split: len(group) for split, group in names.items()} == {
        'train': 3000,
        'val': 1800,
        'test': 2563,
    }
    assert len({name for group in names.values() for name in group}) == 7363


def test_the_real_list_without_images_drops_all_of_them_by_name(shared_dir):
    source = ExDarkConverter(shared_dir / 'data' / 'exdark')
    for split, number in (('train', 3000), ('val', 1800), ('test', 2563)):
        records = source.records(split)
        assert len(records) == number
        assert {record.problem for record in records} == {images.NO_IMAGE}
    with pytest.raises(UserError, match=r"split 'train' \(image missing: 3000\)"):
        source.to_coco()


def test_command(write_tree, run_converter, capsys):
    root = write_tree({'a.jpg': ('a.jpg', [HEADER, BOX, 'Cup 1 2 0 3 0 0 0 0 0 0 0'], 1)})
    assert run_converter('exdark_to_coco', root, '--check', 1) == 0
    written = sorted(path.name for path in (root / 'coco').iterdir())
    assert written == ['train.json', 'train_check.png']
    assert 'zero or negative area' in capsys.readouterr().out
    assert run_converter('exdark_to_coco', root) == 2
    assert re.search(r'train\.json.* exists already; --force', capsys.readouterr().err)
    run_converter('exdark_to_coco', root, '--force')
