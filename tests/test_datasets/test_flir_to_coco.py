"""FLIR ADAS v2's json files, cleaned."""

import json
import re

import pytest
from PIL import Image

from mmattn.datasets import boxes, images
from mmattn.datasets.flir import converter as flir
from mmattn.datasets.flir.converter import FLIRConverter
from mmattn.utils.errors import UserError

# As in the original, most of the names have no box.
CATEGORIES = [
    {'id': 1, 'name': 'person'},
    {'id': 2, 'name': 'bike'},
    {'id': 5, 'name': 'airplane'},
    {'id': 79, 'name': 'other vehicle'},
]


@pytest.fixture
def write_split(tmp_path):
    """Write a folder's images and its coco.json; gives the root."""

    def write(annotations, names=('data/a.jpg',), folder='images_thermal_train', **changes):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('L', (100, 80)).save(path)
        listed = [
            {'id': index, 'file_name': name, 'width': 100, 'height': 80}
            for index, name in enumerate(names)
        ]
        content = {'images': listed, 'annotations': annotations, 'categories': CATEGORIES}
        (tmp_path / folder / 'coco.json').write_text(json.dumps(content | changes))
        return tmp_path

    return write


def box(category, bbox, image=0, **more):
    return {'image_id': image, 'category_id': category, 'bbox': bbox, **more}


def test_used_categories_are_told_by_name(write_split):
    root = write_split([box(1, [10, 20, 30, 40]), box(79, [0, 0, 5, 5], iscrowd=1)])
    results, _, notes = FLIRConverter(root).to_coco()
    data = results['thermal_train']
    assert [image['file_name'] for image in data['images']] == ['images_thermal_train/data/a.jpg']
    assert [category['name'] for category in data['categories']] == list(flir.CLASSES)
    assert [(each['category_id'], each['iscrowd']) for each in data['annotations']] == [
        (1, 0),
        (16, 1),
    ]
    assert "no box of the class 'bike' was found" in notes


def test_every_oddity_is_kept_or_counted(write_split):
    annotations = [
        box(1, [10.5, 20, 30, 40]),
        box(1, [10, 20, 0, 40]),
        box(1, [90, 70, 30, 30]),
        box(1, [10, 20, 30]),
        box(1, ['10', 20, 30, 40]),
        box(1, None),
        box(5, [10, 20, 30, 40]),
        box(6, [10, 20, 30, 40]),
        box(1, [10, 20, 30, 40], image=7),
        {'image_id': 0},
    ]
    root = write_split(annotations, names=('data/a.jpg', 'data/gone.jpg'))
    (root / 'images_thermal_train' / 'data' / 'gone.jpg').unlink()
    results, tallies, _ = FLIRConverter(root).to_coco()
    tally = tallies['thermal_train']
    assert [each['bbox'] for each in results['thermal_train']['annotations']] == [
        [10.5, 20, 30, 40],
        [90, 70, 10, 10],
    ]
    assert tally.dropped_boxes == {
        boxes.DEGENERATE: 1,
        boxes.NO_BOX: 3,
        boxes.OTHER_CLASS: 1,
        boxes.NO_CLASS: 2,
        boxes.IMAGE_DROPPED: 1,
    }
    assert tally.dropped_images == {flir.NO_ENTRY: 1, images.NO_IMAGE: 1}
    assert tally.other_classes == {'airplane': 1}


def test_a_wrong_size_gives_way_to_the_images(write_split):
    listed = [{'id': 0, 'file_name': 'data/a.jpg', 'width': 640, 'height': 512}]
    root = write_split([box(1, [90, 70, 30, 30])], images=listed)
    results, tallies, _ = FLIRConverter(root).to_coco()
    assert results['thermal_train']['annotations'][0]['bbox'] == [90, 70, 10, 10]
    assert tallies['thermal_train'].remarks == {images.OTHER_SIZE: 1, boxes.CLIPPED: 1}


def test_splits_are_the_folders_that_are_there(write_split):
    write_split([box(1, [10, 20, 30, 40])])
    root = write_split([box(1, [10, 20, 30, 40])], folder='video_thermal_test')
    assert FLIRConverter(root).splits() == ['thermal_train', 'thermal_test']
    assert FLIRConverter(root).choose_splits(['thermal_test']) == ['thermal_test']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'images': None}, "'images' is None"),
        ({'images': [{'id': 1}]}, 'every image needs a file_name'),
        ({'images': [{'id': 1, 'file_name': 'data/a.jpg'}] * 2}, 'an id of its own'),
    ],
)
def test_another_json_is_refused(write_split, changes, message):
    with pytest.raises(UserError, match=rf'coco\.json: .*{message}'):
        FLIRConverter(write_split([], **changes)).to_coco()


def test_another_tree_is_refused(tmp_path, write_split):
    with pytest.raises(UserError, match=r'expected images_thermal_train/coco\.json'):
        FLIRConverter(tmp_path)
    root = write_split([])
    (root / 'images_thermal_train' / 'coco.json').write_text('{')
    with pytest.raises(UserError, match=r'coco\.json: not json'):
        FLIRConverter(root).to_coco()


def test_command(write_split, run_converter, capsys):
    root = write_split([box(1, [10, 20, 30, 40]), box(1, [1, 2, 0, 3])])
    assert run_converter('flir_to_coco', root, '--check', 1) == 0
    written = sorted(path.name for path in (root / 'coco').iterdir())
    assert written == ['thermal_train.json', 'thermal_train_check.png']
    assert 'zero or negative area' in capsys.readouterr().out
    assert run_converter('flir_to_coco', root) == 2
    assert re.search(r'thermal_train\.json.* exists already; --force', capsys.readouterr().err)
    run_converter('flir_to_coco', root, '--force')
