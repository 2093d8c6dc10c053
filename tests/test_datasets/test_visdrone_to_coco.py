"""VisDrone's text files as COCO, with what is odd in them."""

import re

import pytest
from PIL import Image

from mmattn.datasets import boxes, images
from mmattn.datasets.visdrone import converter as visdrone
from mmattn.datasets.visdrone.converter import VisDroneConverter
from mmattn.utils.errors import UserError


@pytest.fixture
def write_split(tmp_path):
    """Write {image name: annotation lines or None} as VisDrone2019-DET-SPLIT; gives the root."""

    def write(files, split='train', size=(100, 80)):
        folder = tmp_path / f'VisDrone2019-DET-{split}'
        (folder / 'images').mkdir(parents=True)
        (folder / 'annotations').mkdir()
        for name, lines in files.items():
            Image.new('RGB', size, (90, 90, 90)).save(folder / 'images' / name)
            if lines is not None:
                path = folder / 'annotations' / (name.rsplit('.', 1)[0] + '.txt')
                path.write_text('\n'.join(lines) + '\n')
        return tmp_path

    return write


USUAL = '10,20,30,40,1,4,0,0'


def test_coco_fields(write_split):
    root = write_split({'0001.jpg': [USUAL, '50,10,40,30,0,0,0,0']})
    results, tallies, _ = VisDroneConverter(root).to_coco()
    data = results['train']
    assert data['images'] == [
        {
            'id': 1,
            'file_name': 'VisDrone2019-DET-train/images/0001.jpg',
            'width': 100,
            'height': 80,
        }
    ]
    car, region = data['annotations']
    assert (car['category_id'], car['bbox'], car['area'], car['iscrowd']) == (
        4,
        [10, 20, 30, 40],
        1200,
        0,
    )
    assert (region['category_id'], region['bbox'], region['iscrowd']) == (11, [50, 10, 40, 30], 1)
    names = {category['id']: category['name'] for category in data['categories']}
    assert names[1] == 'pedestrian' and names[10] == 'motor' and names[11] == 'ignored regions'
    assert tallies['train'].crowd == 1


def test_every_oddity_is_kept_or_counted(write_split):
    lines = [
        '10,20,30,40,1,4,0,0,',  # a comma at the end
        '10.5, 20.25 ,30,40,1,4,0,0',  # floats and spaces
        '1,2,0,5,1,1,0,0',  # no width
        '1,2,5,0,1,1,0,0',  # no height
        '90,70,30,30,1,2,0,0',  # sticks out
        '120,10,5,5,1,2,0,0',  # outside
        '5,5,20,20,0,11,0,0',  # others
        '5,5,20,20,1,12,0,0',  # no such category
        '5,5,20,20,0,9,0,0',  # an object that is not to be evaluated
        '5,5,20,20,x,9,0,0',  # a score that is none
        'a,5,20,20,1,9,0,0',  # a coordinate that is none
        '5,5,20',  # cut off
        '',
        '0,0,0,0,0,0,0,0',  # an ignored region without a size
    ]
    root = write_split({'0001.jpg': lines, '0002.jpg': [USUAL]})
    results, tallies, _ = VisDroneConverter(root).to_coco()
    tally = tallies['train']
    first = [each for each in results['train']['annotations'] if each['image_id'] == 1]
    assert [(each['bbox'], each['category_id'], each['iscrowd']) for each in first] == [
        ([10, 20, 30, 40], 4, 0),
        ([10.5, 20.25, 30, 40], 4, 0),
        ([90, 70, 10, 10], 2, 0),
        ([5, 5, 20, 20], 9, 1),
        ([5, 5, 20, 20], 9, 0),
    ]
    assert tally.dropped_boxes == {
        boxes.DEGENERATE: 3,
        boxes.OUTSIDE: 1,
        boxes.OTHER_CLASS: 2,
        boxes.NO_BOX: 1,
        boxes.NO_CLASS: 1,
    }
    assert tally.other_classes == {'others': 1, 'category 12': 1}
    assert tally.remarks == {boxes.CLIPPED: 1, visdrone.ODD_SCORE: 2}
    assert tally.boxes_read == 14 and tally.crowd == 1


def test_missing_files_and_mixed_suffixes(write_split):
    root = write_split({'a.JPG': [USUAL], 'b.jpeg': [USUAL], 'c.jpg': None, 'd.jpg': [USUAL]})
    (root / 'VisDrone2019-DET-train' / 'images' / 'd.jpg').unlink()
    results, tallies, _ = VisDroneConverter(root).to_coco()
    names = [image['file_name'].rsplit('/', 1)[1] for image in results['train']['images']]
    assert names == ['a.JPG', 'b.jpeg']
    assert tallies['train'].dropped_images == {visdrone.NO_ANNOTATION: 1, images.NO_IMAGE: 1}
    assert tallies['train'].dropped_boxes == {boxes.IMAGE_DROPPED: 1}


def test_an_image_with_an_empty_annotation_stays(write_split):
    root = write_split({'a.jpg': [], 'b.jpg': [USUAL]})
    results, tallies, _ = VisDroneConverter(root).to_coco()
    assert len(results['train']['images']) == 2
    assert tallies['train'].images_without_boxes == 1


def test_splits_are_the_folders_with_annotations(write_split):
    root = write_split({'a.jpg': [USUAL]})
    write_split({'b.jpg': [USUAL]}, 'val')
    (root / 'VisDrone2019-DET-test-challenge' / 'images').mkdir(parents=True)
    assert VisDroneConverter(root).splits() == ['train', 'val']
    results, _, _ = VisDroneConverter(root).to_coco(['val'])
    assert list(results) == ['val']
    with pytest.raises(UserError, match="no split 'test'; there is train, val"):
        VisDroneConverter(root).to_coco(['test'])
    for name in ('images', 'annotations'):
        (root / 'VisDrone2018-DET-val' / name).mkdir(parents=True)
    with pytest.raises(UserError, match="both the split 'val'"):
        VisDroneConverter(root)


def test_given_classes_keep_the_ignored_regions(write_split):
    root = write_split({'a.jpg': [USUAL, '5,5,20,20,1,9,0,0', '50,10,40,30,0,0,0,0']})
    results, tallies, _ = VisDroneConverter(root).to_coco(classes=['bus'])
    assert [category['name'] for category in results['train']['categories']] == [
        'bus',
        'ignored regions',
    ]
    assert tallies['train'].other_classes == {'car': 1}


def test_regions_alone_are_nothing_to_train_on(write_split):
    root = write_split({'a.jpg': ['50,10,40,30,0,0,0,0']})
    with pytest.raises(UserError, match='no box is left of the classes pedestrian'):
        VisDroneConverter(root).to_coco()


def test_another_tree_is_refused(tmp_path):
    with pytest.raises(UserError, match=r'expected VisDrone2019-DET-train/images/\*\.jpg'):
        VisDroneConverter(tmp_path)


def test_command(write_split, run_converter, capsys):
    root = write_split({'0001.jpg': [USUAL, '50,10,40,30,0,0,0,0', '1,2,0,5,1,1,0,0']})
    assert run_converter('visdrone_to_coco', root, '--check', 1) == 0
    written = sorted(path.name for path in (root / 'coco').iterdir())
    assert written == ['train.json', 'train_check.png']
    assert 'zero or negative area' in capsys.readouterr().out
    assert run_converter('visdrone_to_coco', root) == 2
    assert re.search(r'train\.json.* exists already; --force', capsys.readouterr().err)
    run_converter('visdrone_to_coco', root, '--force')
