import re
from pathlib import Path

import pytest
from PIL import Image

from mmattn.datasets import boxes, coco_json, images
from mmattn.datasets.contact_sheet import draw_contact_sheet
from mmattn.datasets.report import other_classes
from mmattn.datasets.voc import converter as voc
from mmattn.utils.errors import UserError


def convert_voc(root, splits=(), classes=(), **folders):
    return voc.VOCConverter(root, **folders).to_coco(splits, classes)


def convert_objects(voc_tree, tmp_path, objects, size=(100, 80), classes=()):
    """Convert a tree of one image besides one with an ordinary box; tally and the first's boxes."""
    usual = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    root = voc_tree.write(tmp_path / 'tree', {'a': voc_tree.xml(objects, size), 'b': usual})
    results, tallies, _ = convert_voc(root, classes=classes)
    found = [a['bbox'] for a in results['all']['annotations'] if a['image_id'] == 1]
    return tallies['all'], found


def test_one_is_subtracted_as_mmdet_does(voc_tree, tmp_path):
    tally, found = convert_objects(voc_tree, tmp_path, [voc_tree.object('cat', (1, 1, 100, 80))])
    assert found == [[0, 0, 99, 79]]
    assert not tally.dropped_boxes.total()
    assert not tally.remarks


def test_coco_fields(voc_tree, tmp_path):
    objects = [
        voc_tree.object('dog', (11, 21, 31, 51)),
        voc_tree.object('cat', (1, 1, 11, 11), extra='<difficult>1</difficult>'),
    ]
    root = voc_tree.write(tmp_path / 'tree', {'a': voc_tree.xml(objects)}, {'train': ['a']})
    results, tallies, notes = convert_voc(root)
    assert results == {
        'train': {
            'images': [{'id': 1, 'file_name': 'JPEGImages/a.jpg', 'width': 100, 'height': 80}],
            'annotations': [
                {
                    'id': 1,
                    'image_id': 1,
                    'category_id': 2,
                    'bbox': [10, 20, 20, 30],
                    'area': 600,
                    'iscrowd': 0,
                    'segmentation': [],
                },
                {
                    'id': 2,
                    'image_id': 1,
                    'category_id': 1,
                    'bbox': [0, 0, 10, 10],
                    'area': 100,
                    'iscrowd': 1,
                    'segmentation': [],
                },
            ],
            'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
        }
    }
    assert tallies['train'].crowd == 1
    assert notes == []


@pytest.mark.parametrize(
    ('corners', 'reason'),
    [
        ((20, 20, 20, 40), boxes.DEGENERATE),
        ((20, 40, 30, 40), boxes.DEGENERATE),
        ((30, 20, 20, 40), boxes.DEGENERATE),
        ((101, 20, 140, 40), boxes.OUTSIDE),
        ((20, 90, 40, 95), boxes.OUTSIDE),
        ((-30, 20, 1, 40), boxes.OUTSIDE),
        ((20.1, 20, 20.9, 40), boxes.TOO_THIN),
        ((100.5, 20, 140, 40), boxes.TOO_THIN),
        (('nan', 20, 30, 40), boxes.NOT_FINITE),
        ((20, 20, 'inf', 40), boxes.NOT_FINITE),
        ((None, 20, 30, 40), boxes.NO_BOX),
        (('left', 20, 30, 40), boxes.NO_BOX),
    ],
)
def test_bad_boxes_are_dropped_and_counted(voc_tree, tmp_path, corners, reason):
    tally, found = convert_objects(voc_tree, tmp_path, [voc_tree.object('cat', corners)])
    assert found == []
    assert tally.dropped_boxes == {reason: 1}
    assert tally.examples[reason] == ['a']
    assert (tally.boxes_read, tally.boxes.total(), tally.images_without_boxes) == (2, 1, 1)


@pytest.mark.parametrize(
    ('corners', 'expected'),
    [
        ((0, 0, 11, 11), [0, 0, 10, 10]),
        ((-50, 41, 11, 200), [0, 40, 10, 40]),
        ((91, 71, 120, 75), [90, 70, 10, 4]),
    ],
)
def test_boxes_that_stick_out_are_clipped_and_counted(voc_tree, tmp_path, corners, expected):
    tally, found = convert_objects(voc_tree, tmp_path, [voc_tree.object('cat', corners)])
    assert found == [expected]
    assert tally.remarks == {boxes.CLIPPED: 1}


def test_floats_are_kept(voc_tree, tmp_path):
    _, found = convert_objects(
        voc_tree, tmp_path, [voc_tree.object('cat', (10.5, 20.25, 30.75, '41.0'))]
    )
    assert found == [[9.5, 19.25, 20.25, 20.75]]


def test_objects_without_difficult_name_or_box(voc_tree, tmp_path):
    objects = [
        voc_tree.object('cat', (11, 21, 31, 51), extra=''),
        voc_tree.object('cat', (11, 21, 31, 51), extra='<difficult>Unspecified</difficult>'),
        voc_tree.object(' ', (11, 21, 31, 51)),
        '<object><bndbox/></object>',
        '<object><name>cat</name></object>',
        # a part's name and box are not the object's own
        '<object><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>',
    ]
    tally, found = convert_objects(voc_tree, tmp_path, objects)
    assert found == [[10, 20, 20, 30]] * 2
    assert tally.crowd == 0
    assert tally.dropped_boxes == {boxes.NO_CLASS: 3, boxes.NO_BOX: 1}
    assert tally.remarks == {voc.ODD_DIFFICULT: 1}


@pytest.mark.parametrize('size', [None, (0, 0), ('', 80), ('nan', 'inf')])
def test_missing_size_is_read_from_the_image(voc_tree, tmp_path, size):
    tally, found = convert_objects(
        voc_tree, tmp_path, [voc_tree.object('cat', (51, 41, 200, 200))], size
    )
    assert found == [[50, 40, 50, 40]]
    assert tally.remarks == {voc.NO_SIZE: 1, boxes.CLIPPED: 1}


def test_wrong_size_gives_way_to_the_images(voc_tree, tmp_path):
    tally, found = convert_objects(
        voc_tree, tmp_path, [voc_tree.object('cat', (11, 11, 90, 70))], (50, 50)
    )
    assert found == [[10, 10, 79, 59]]
    assert tally.remarks == {images.OTHER_SIZE: 1}


def test_size_is_of_the_image_turned_by_its_exif_orientation(tmp_path):
    path = tmp_path / 'turned.jpg'
    exif = Image.Exif()
    exif[images.ORIENTATION_TAG] = 6
    Image.new('RGB', (100, 80)).save(path, exif=exif)
    assert images.image_size(path) == (80, 100)


def test_missing_and_unreadable_files_are_counted_with_their_boxes(voc_tree, tmp_path):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))] * 2)
    names = ['good', 'no_image', 'no_xml', 'broken', 'nothing']
    root = voc_tree.write(tmp_path / 'tree', dict.fromkeys(names[:4], xml), {'train': names})
    (root / 'JPEGImages' / 'no_image.jpg').unlink()
    (root / 'Annotations' / 'no_xml.xml').unlink()
    (root / 'JPEGImages' / 'broken.jpg').write_bytes(b'no picture')
    results, tallies, _ = convert_voc(root)
    tally = tallies['train']
    assert [image['file_name'] for image in results['train']['images']] == ['JPEGImages/good.jpg']
    assert tally.dropped_images == {images.NO_IMAGE: 1, images.UNREADABLE: 1, voc.NO_XML: 2}
    assert tally.dropped_boxes == {boxes.IMAGE_DROPPED: 4}
    assert (tally.images_read, tally.boxes_read) == (5, 6)


def test_tree_without_image_sets_takes_everything(voc_tree, tmp_path):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    root = voc_tree.write(tmp_path / 'tree', {'a': xml, 'sub.dots': xml}, suffix='.PNG')
    Image.new('RGB', (9, 9)).save(root / 'JPEGImages' / 'unlabelled.jpg')
    results, tallies, notes = convert_voc(root)
    assert [image['file_name'] for image in results['all']['images']] == [
        'JPEGImages/a.PNG',
        'JPEGImages/sub.dots.PNG',
    ]
    assert tallies['all'].dropped_images == {voc.NO_XML: 1}
    assert notes == []


def test_images_beside_their_xml_files_and_stale_filenames(voc_tree, tmp_path):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))], filename='old name.jpg')
    root = voc_tree.write(tmp_path / 'tree', {'a': xml, 'b': xml.replace('old name', 'renamed')})
    for path in [*(root / 'JPEGImages').iterdir(), *(root / 'Annotations').iterdir()]:
        path.rename(root / path.name)
    (root / 'b.jpg').rename(root / 'renamed.jpg')
    results, tallies, _ = convert_voc(root, img_subdir='.', ann_subdir='.')
    assert [image['file_name'] for image in results['all']['images']] == ['a.jpg', 'renamed.jpg']
    # the image under its old name belongs to no xml file
    assert tallies['all'].dropped_images == {voc.NO_XML: 1}


def test_splits_with_suffixes_blank_lines_duplicates_and_class_lists(voc_tree, tmp_path):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    root = voc_tree.write(tmp_path / 'tree', dict.fromkeys('abc', xml))
    main = root / 'ImageSets' / 'Main'
    main.mkdir(parents=True)
    (main / 'train.txt').write_bytes(b'\xef\xbb\xbfa.jpg\r\n\r\nb\r\na\r\n')
    (main / 'test.txt').write_text('a\n')
    (main / 'cat_train.txt').write_text('a  1\nb -1\n')
    results, tallies, notes = convert_voc(root)
    assert {split: len(result['images']) for split, result in results.items()} == {
        'test': 1,
        'train': 2,
    }
    assert tallies['train'].remarks == {boxes.LISTED_TWICE: 1}
    assert notes == [
        '1 images are in train as well as in test, such as JPEGImages/a.jpg',
        '1 images are in no split, such as JPEGImages/c.jpg',
    ]
    with pytest.raises(UserError, match="no split 'cat_train'; there is test, train"):
        convert_voc(root, ['cat_train'])
    with pytest.raises(UserError, match='second column'):
        voc.read_split_file(main / 'cat_train.txt')


def test_devkit_joins_its_years(voc_tree, tmp_path):
    xml = voc_tree.xml([voc_tree.object('cat', (11, 21, 31, 51))])
    voc_tree.write(tmp_path / 'VOC2007', {'000001': xml}, {'train': ['000001'], 'test': ['000001']})
    voc_tree.write(tmp_path / 'VOC2012', {'2008_000002': xml}, {'train': ['2008_000002']})
    results, _, _ = convert_voc(tmp_path, ['train', 'test'])
    names = {s: [image['file_name'] for image in r['images']] for s, r in results.items()}
    assert names == {
        'train': ['VOC2007/JPEGImages/000001.jpg', 'VOC2012/JPEGImages/2008_000002.jpg'],
        'test': ['VOC2007/JPEGImages/000001.jpg'],
    }


def test_given_classes_keep_their_order_and_others_are_counted_by_name(voc_tree, tmp_path):
    objects = [voc_tree.object(name, (11, 21, 31, 51)) for name in ('cat', 'dog', 'dog', 'bird')]
    root = voc_tree.write(tmp_path / 'tree', {'a': voc_tree.xml(objects)})
    results, tallies, notes = convert_voc(root, classes=['wolf', 'cat'])
    assert results['all']['categories'] == [{'id': 1, 'name': 'wolf'}, {'id': 2, 'name': 'cat'}]
    assert tallies['all'].dropped_boxes == {boxes.OTHER_CLASS: 3}
    assert other_classes(tallies) == {'dog': 2, 'bird': 1}
    assert notes == ["no box of the class 'wolf' was found"]
    with pytest.raises(UserError, match='name these classes: bird, cat, dog'):
        convert_voc(root, classes=['Cat'])


def test_mmdet_reads_the_result(voc_tree, tmp_path):
    coco_dataset = pytest.importorskip('mmdet.datasets').CocoDataset
    objects = [
        voc_tree.object('dog', (11, 21, 31, 51)),
        voc_tree.object('cat', (1, 1, 11, 11), extra='<difficult>1</difficult>'),
    ]
    root = voc_tree.write(tmp_path / 'tree', {'a': voc_tree.xml(objects)})
    results, _, _ = convert_voc(root)
    coco_json.write_json(results['all'], root / 'coco' / 'all.json')
    dataset = coco_dataset(
        ann_file='coco/all.json',
        data_root=str(root),
        data_prefix={'img': ''},
        metainfo={'classes': ('cat', 'dog')},
    )
    info = dataset.get_data_info(0)
    assert Path(info['img_path']).is_file()
    assert [(i['bbox'], i['bbox_label'], i['ignore_flag']) for i in info['instances']] == [
        ([10, 20, 30, 50], 1, 0),
        ([0, 0, 10, 10], 0, 1),
    ]


def test_classes_from_a_file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('cat\n\nguinea pig\n')
    assert coco_json.read_classes([str(path)]) == ('cat', 'guinea pig')
    assert coco_json.read_classes(['cat', 'dog']) == ('cat', 'dog')
    with pytest.raises(UserError, match='twice: cat'):
        coco_json.read_classes(['cat', 'dog', 'cat'])


def test_errors_name_the_file(voc_tree, tmp_path):
    with pytest.raises(UserError, match=r'nowhere does not exist; a VOC-style tree has'):
        convert_voc(tmp_path / 'nowhere')
    root = voc_tree.write(tmp_path / 'tree', {'a': '<annotation><object></annotation>'})
    with pytest.raises(UserError, match=r'a\.xml: not well-formed xml: mismatched tag: line 1'):
        convert_voc(root)
    (root / 'Annotations' / 'a.xml').write_text('<html></html>')
    with pytest.raises(UserError, match=r'a\.xml: .*<html>'):
        convert_voc(root)
    (root / 'Annotations' / 'a.xml').write_text(voc_tree.xml())
    with pytest.raises(UserError, match='no box is left'):
        convert_voc(root)
    (root / 'JPEGImages' / 'a.jpg').unlink()
    with pytest.raises(UserError, match=r"no usable image in the split 'all' \(image missing: 1\)"):
        convert_voc(root)


def test_counts_that_do_not_add_up_are_a_fault():
    tally = boxes.Tally()
    record = boxes.Record('a', 'a.jpg', 10, 10, [boxes.Box('cat', (0, 0, 5, 5))])
    boxes.clean_record(record, ['cat'], tally)
    tally.check()
    tally.boxes['cat'] = 0
    with pytest.raises(RuntimeError, match='1 boxes were read'):
        tally.check()


def test_contact_sheet_shows_boxes_where_they_are(tmp_path):
    coco = {
        'images': [{'id': 7, 'file_name': 'a.png', 'width': 400, 'height': 300}],
        'annotations': [{'image_id': 7, 'category_id': 1, 'bbox': [50, 60, 100, 80], 'iscrowd': 0}],
        'categories': [{'id': 1, 'name': '猫'}],
    }
    Image.new('RGB', (400, 300)).save(tmp_path / 'a.png')
    shown = draw_contact_sheet(coco, tmp_path, tmp_path / 'sheet.png')
    assert shown == ['a.png']
    sheet = Image.open(tmp_path / 'sheet.png')
    orange = (0xE6, 0x9F, 0x00)
    for corner in ((50, 60), (150, 140), (50, 140), (150, 60)):
        assert sheet.getpixel(corner) == orange
    assert sheet.getpixel((100, 120)) == (0, 0, 0)


def test_contact_sheet_shows_odd_images_first_and_spreads_the_rest(tmp_path):
    records = [{'id': i, 'file_name': f'{i:02d}.png', 'width': 8, 'height': 8} for i in range(20)]
    for record in records:
        Image.new('RGB', (8, 8)).save(tmp_path / record['file_name'])
    coco = {'images': records, 'annotations': [], 'categories': []}
    path = tmp_path / 'sheet.png'
    shown = draw_contact_sheet(coco, tmp_path, path, num=4, first=['19'])
    assert shown == ['19.png', '00.png', '06.png', '12.png']
    assert len(draw_contact_sheet(coco, tmp_path, path, num=50)) == 20


def test_command(voc_tree, tmp_path, run_converter, capsys):
    xml = voc_tree.xml(
        [voc_tree.object('cat', (11, 21, 131, 51)), voc_tree.object('cat', (5, 5, 5, 5))]
    )
    root = voc_tree.write(tmp_path / 'tree', {'a': xml}, {'train': ['a'], 'val': ['a']})
    assert run_converter('voc_to_coco', root, '--check', 2) == 0
    shown = capsys.readouterr().out
    assert 'zero or negative area' in shown
    assert '1 images are in train as well as in val' in shown
    written = sorted(path.name for path in (root / 'coco').iterdir())
    assert written == ['train.json', 'train_check.png', 'val.json', 'val_check.png']
    assert run_converter('voc_to_coco', root, '--splits', 'train') == 2
    assert re.search(r'^error: .*train\.json exists already; --force', capsys.readouterr().err)


def test_bccd(shared_dir):
    results, tallies, notes = convert_voc(shared_dir / 'data' / 'bccd', ['trainval', 'test'])
    assert {split: len(result['images']) for split, result in results.items()} == {
        'trainval': 292,
        'test': 72,
    }
    assert tallies['trainval'].dropped_boxes == {boxes.DEGENERATE: 2}
    assert tallies['trainval'].examples[boxes.DEGENERATE] == [
        'BloodImage_00338',
        'BloodImage_00343',
    ]
    assert tallies['trainval'].boxes == {'RBC': 3348, 'WBC': 301, 'Platelets': 292}
    assert tallies['test'].boxes == {'RBC': 805, 'WBC': 71, 'Platelets': 69}
    assert not tallies['test'].dropped_boxes
    assert notes == []
    assert all(min(a['bbox'][2:]) >= 1 for r in results.values() for a in r['annotations'])
