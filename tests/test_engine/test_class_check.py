"""Class names, annotation files and num_classes that do not belong together are refused."""

import dataclasses
import json

import pytest
from mmengine.config import Config
from PIL import Image

from mmattn.datasets.coco import layout as coco
from mmattn.engine import class_check
from mmattn.engine.class_check import check_classes
from mmattn.engine.config import load_config, shipped_configs
from mmattn.engine.data_check import check_data
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_datasets

CELLS = ('RBC', 'WBC', 'Platelets')


def detector(dataset, *heads, **model):
    """The parts of a detector's config that are looked at."""
    heads = [dict(type='Shared2FCBBoxHead', num_classes=number) for number in heads or (3,)]
    model = dict(rpn_head=dict(num_classes=1), roi_head=dict(bbox_head=heads), **model)
    return Config(
        dict(default_scope='mmdet', model=model, train_dataloader=dict(dataset=dict(dataset)))
    )


def content(names=CELLS, used=(1,)):
    """A COCO file's content with one image and a box of each used category."""
    boxes = [
        dict(id=i, image_id=1, category_id=i, bbox=[1, 2, 3, 4], area=12, iscrowd=0) for i in used
    ]
    return dict(
        images=[dict(id=1, file_name='a.jpg', width=9, height=9)],
        annotations=boxes,
        categories=[dict(id=i, name=name) for i, name in enumerate(names, 1)],
    )


@pytest.fixture
def cells(tmp_path):
    """Writes a COCO file (a dict, or text) and gives the config of a data set that reads it."""
    pytest.importorskip('mmdet')

    def write(written=None, classes=CELLS, **options):
        text = written if isinstance(written, str) else json.dumps(written or content())
        (tmp_path / 'cells.json').write_text(text)
        if classes:
            options['metainfo'] = dict(classes=classes)
        return dict(
            type='CocoDataset',
            data_root=str(tmp_path),
            ann_file='cells.json',
            data_prefix=dict(img=''),
            **options,
        )

    return write


def test_what_fits_passes(cells):
    assert check_data(detector(cells(), 3, 3)) == []


@pytest.mark.parametrize('large', [False, True])
@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (('RBC', 'WBC', 'Platlets'), 'no category Platlets. Did you mean Platelets for Platlets'),
        (('rbc', 'WBC', 'Platelets'), 'Did you mean RBC for rbc'),
        (('cat', 'dog', 'cow'), 'no category cat, dog, cow. There is Platelets, RBC, WBC'),
        (None, 'no category person, bicycle'),
    ],
)
def test_names_that_the_file_does_not_have(cells, classes, words, large, monkeypatch):
    if large:
        monkeypatch.setattr(coco, 'LARGE', 0)
        monkeypatch.setattr(coco, 'read_json', None)
    with pytest.raises(UserError, match=r'cells\.json') as error:
        check_data(detector(cells(classes=classes)))
    assert words in str(error.value)


def test_some_of_the_classes_and_the_dataset_class_s_own(cells):
    assert check_data(detector(cells(classes=('WBC', 'RBC')), 2)) == []
    (note,) = check_data(detector(cells(content(('person', 'car')), None), 80))
    assert 'bicycle' in note and 'CocoDataset' in note


def test_no_annotation_of_the_classes(cells):
    dataset = cells(content(used=(1,)), classes=('WBC', 'Platelets'))
    with pytest.raises(UserError, match='no annotation of the classes WBC, Platelets'):
        check_data(detector(dataset, 2))
    check_data(detector({**dataset, 'test_mode': True}, 2))
    check_data(detector(cells(content(used=())), 3))


def test_one_class_without_a_comma(cells):
    with pytest.raises(UserError, match=r"'RBC' .* is a string .* \('RBC',\)"):
        check_data(detector(cells(classes=('RBC')), 1))


def test_every_wrong_head_is_named_with_both_numbers(cells):
    with pytest.raises(UserError) as error:
        check_data(detector(cells(), 80, 3, 4))
    text = str(error.value)
    assert 'model.roi_head.bbox_head.0.num_classes is 80' in text
    assert 'model.roi_head.bbox_head.2.num_classes is 4' in text
    assert '3 classes: RBC, WBC, Platelets' in text
    assert '--cfg-options model.roi_head.bbox_head.0.num_classes=3' in text
    assert 'rpn_head' not in text and 'bbox_head.1' not in text


def test_classes_as_words_are_no_numbers(cells):
    check_data(detector(cells(), 256, language_model=dict(type='BertModel')))


def test_a_demo_shows_fewer_classes(cells):
    cfg = detector(cells(), 80)
    cfg.demo = True
    check_data(cfg)
    with pytest.raises(UserError, match='is 2, but'):
        check_data(Config({**detector(cells(), 2), 'demo': True}))


def broken(key, index, **changes):
    """The content with an entry changed; None takes the field away."""
    changed = content()
    entry = changed[key][index]
    entry.update(changes)
    changed[key][index] = {name: value for name, value in entry.items() if value is not None}
    return changed


@pytest.mark.parametrize(
    ('written', 'words'),
    [
        (json.dumps(content())[:-9], 'not json'),
        ('', 'not json'),
        ('<html>', 'not json'),
        ('[]', 'not list'),
        ({**content(), 'images': {}}, "'images' is {}"),
        ({'images': [], 'annotations': []}, "no list 'categories'"),
        ({'images': [], 'categories': []}, "no list 'annotations'"),
        ({**content(), 'annotations': [3]}, r'annotations\[0\] is 3'),
        (broken('annotations', 0, bbox='1,2,3,4'), r"'bbox' of annotations\[0\] is '1,2,3,4'"),
        (broken('annotations', 0, bbox=[1, 2, 3]), r"'bbox' of annotations\[0\] is \[1, 2, 3\]"),
        (broken('annotations', 0, bbox=[1, 2, 3, '4']), "'bbox' of"),
        (broken('annotations', 0, area=None), r"'area' of annotations\[0\] is missing"),
        (broken('annotations', 0, category_id=None), "'category_id' of"),
        (broken('images', 0, file_name=None), r"'file_name' of images\[0\] is missing"),
        (broken('images', 0, height='9'), r"'height' of images\[0\] is '9'"),
        (broken('categories', 1, name=None), r"'name' of categories\[1\] is missing"),
    ],
)
def test_a_broken_json_is_named(cells, written, words):
    with pytest.raises(UserError, match=rf'cells\.json: .*{words}'):
        check_data(detector(cells(written)))


def test_a_large_file_that_was_cut_off_is_named(cells, monkeypatch):
    monkeypatch.setattr(coco, 'LARGE', 0)
    text = json.dumps(dict(reversed(content().items())))
    for end in (len(text) // 2, text.rindex('}]'), len(text) - 1):
        with pytest.raises(UserError, match=r'cells\.json: not json'):
            check_data(detector(cells(text[:end])))
    # Brackets in names, and 'categories' where nobody expects them, are read as they are.
    odd = {**content(('R{C', 'W[C', 'Platelets')), 'info': {'categories': [1]}}
    check_data(detector(cells(odd, classes=('R{C', 'W[C', 'Platelets'))))


def test_images_to_test_need_no_annotations(cells):
    bare = {key: value for key, value in content().items() if key != 'annotations'}
    check_data(detector(cells(bare, test_mode=True)))


def test_a_file_is_read_once(cells):
    dataset = cells()
    cfg = detector(dataset)
    cfg.val_dataloader = dict(dataset=dict(dataset))
    before = coco.read_content.cache_info().misses
    check_data(cfg)
    assert coco.read_content.cache_info().misses == before + 1


def voc(root, classes=CELLS, kind='mmattn.VOCDataset'):
    return dict(
        type=kind,
        data_root=str(root),
        ann_file='ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=classes),
    )


@pytest.fixture
def xml_files(tmp_path):
    """Writes xml files with the named objects, and gives their folder."""
    pytest.importorskip('mmdet')

    def write(*names):
        box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>'
        (tmp_path / 'Annotations').mkdir()
        (tmp_path / 'JPEGImages').mkdir()
        for number, name in enumerate(names):
            text = f'<annotation><object><name>{name}</name>{box}</object></annotation>'
            (tmp_path / 'Annotations' / f'{number}.xml').write_text(text)
        listed = tmp_path / 'ImageSets' / 'Main' / 'train.txt'
        listed.parent.mkdir(parents=True)
        listed.write_text('\n'.join(map(str, range(len(names)))))
        return tmp_path

    return write


@pytest.mark.parametrize('kind', ['mmattn.VOCDataset', 'XMLDataset'])
def test_names_that_no_xml_file_has(xml_files, kind):
    root = xml_files('RBC', 'WBC', 'Platelets')
    check_data(detector(voc(root, kind=kind)))
    with pytest.raises(UserError, match=r'Annotations has a box of the class cat, dog\. There is'):
        check_data(detector(voc(root, ('cat', 'dog'), kind), 2))
    with pytest.raises(UserError, match='Did you mean Platelets for platelet'):
        check_data(detector(voc(root, ('RBC', 'WBC', 'platelet'), kind)))


def test_a_rare_class_may_be_absent(xml_files):
    root = xml_files('RBC', 'WBC')
    assert check_data(detector(voc(root))) == []
    (note,) = check_data(detector(voc(root, ('RBC', 'parasite')), 2))
    assert 'class parasite; not asked for: WBC' in note


def test_a_broken_xml_file_is_named(xml_files):
    root = xml_files('RBC')
    (root / 'Annotations' / '0.xml').write_text('<annotation>')
    with pytest.raises(UserError, match=r'0\.xml: not well-formed'):
        check_data(detector(voc(root)))


def segmenter(dataset, decode, auxiliary=()):
    pytest.importorskip('mmseg')
    model = dict(backbone=dict(num_classes=7), decode_head=decode, auxiliary_head=list(auxiliary))
    return Config(dict(default_scope='mmseg', model=model)), [dataset]


def seg(*classes, **options):
    return dict(type='BaseSegDataset', metainfo=dict(classes=classes), **options)


@pytest.mark.parametrize(
    ('dataset', 'heads'),
    [
        (dict(type='ADE20KDataset'), (150, 150)),
        (seg('sky', 'road', 'car'), (3, 3)),
        (seg('background', 'cell'), (2, 2)),
        (seg('background', 'cell'), (1, 1)),
        (seg('background', 'sky', 'car', reduce_zero_label=True), (2, 3)),
        (seg('background', 'sky', 'car', pipeline=[dict(reduce_zero_label=True)]), (2, 3)),
        (dict(type='ADE20KDataset', metainfo=dict(classes=('sky', 'car'))), (2, 2)),
    ],
)
def test_segmentation_that_fits(dataset, heads):
    first, *rest = [dict(type='FCNHead', num_classes=number) for number in heads]
    edges = dict(type='STDCHead', num_classes=2)
    assert check_classes(*segmenter(dataset, first, [*rest, edges])) == []


@pytest.mark.parametrize(
    ('dataset', 'heads', 'words'),
    [
        (dict(type='ADE20KDataset'), (150, 19), 'auxiliary_head.0.num_classes is 19.*150 classes'),
        (dict(type='ADE20KDataset'), (149, 150), 'decode_head.num_classes is 149.*150 classes'),
        (seg('sky', 'road', 'car'), (2, 3), 'decode_head.num_classes is 2.*3 classes: sky, road'),
        (
            dict(type='ADE20KDataset', metainfo=dict(classes=('sky', 'caar'))),
            (2, 2),
            'ADE20KDataset has no class caar. Did you mean car for caar',
        ),
    ],
)
def test_segmentation_that_does_not_fit(dataset, heads, words):
    first, *rest = [dict(type='FCNHead', num_classes=number) for number in heads]
    with pytest.raises(UserError, match=words):
        check_classes(*segmenter(dataset, first, rest))


def classifier(dataset, number):
    pytest.importorskip('mmpretrain')
    model = dict(head=dict(type='LinearClsHead', num_classes=number))
    return Config(dict(default_scope='mmpretrain', model=model)), [dataset]


@pytest.fixture
def animals(tmp_path):
    """The config of a data set of three folders, and of a list in it."""
    for name in ('cat', 'cow', 'dog', '.hidden'):
        (tmp_path / 'train' / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'train' / name / '1.png')
    (tmp_path / 'list.txt').write_text('cat/1.png 0\ndog/1.png 2\n')
    return dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='train')


def test_folders_are_the_classes(animals):
    assert check_classes(*classifier(animals, 3)) == []
    with pytest.raises(UserError, match=r'model\.head\.num_classes is 1000, but .* has 3 classes'):
        check_classes(*classifier(animals, 1000))
    cfg, datasets = classifier(animals, 10)
    cfg.demo = True
    assert check_classes(cfg, datasets) == []


def test_folders_and_names(animals):
    named = {**animals, 'metainfo': dict(classes=('cat', 'cow'))}
    with pytest.raises(UserError, match='3 folders, one a class: cat, cow, dog; .* 2 class names'):
        check_classes(*classifier(named, 2))
    assert check_classes(*classifier({**animals, 'classes': ('a', 'b', 'c')}, 3)) == []
    # Labels would be other names' than the folders'.
    with pytest.raises(UserError, match='alphabetical order: cat, cow, dog; .* dog, cat, cow'):
        check_classes(*classifier({**animals, 'classes': ('dog', 'cat', 'cow')}, 3))


def test_labels_of_a_list(animals, tmp_path):
    by_list = {**animals, 'ann_file': 'list.txt'}
    # That more classes exist than occur cannot be told from a list.
    for number in (3, 10):
        assert check_classes(*classifier(by_list, number)) == []
    with pytest.raises(UserError, match=r'is 2, but .*list\.txt.* has at least 3 classes'):
        check_classes(*classifier(by_list, 2))
    assert check_classes(*classifier({**by_list, 'with_label': False}, 2)) == []
    (tmp_path / 'list.txt').write_text('cat/1.png 0\ndog/1.png\n')
    with pytest.raises(UserError, match=r"list\.txt, line 2: 'dog/1\.png'"):
        check_classes(*classifier(by_list, 3))


def test_cifar_s_hundred():
    with pytest.raises(UserError, match='is 10, but the data set CIFAR100 .* has 100 classes'):
        check_classes(*classifier(dict(type='CIFAR100', data_root='data'), 10))


@pytest.mark.parametrize('name', shipped_configs())
def test_no_shipped_config_is_refused(name, monkeypatch):
    """What the config alone says fits; the annotation files are not here."""
    find = class_check.nearest
    monkeypatch.setattr(
        class_check,
        'nearest',
        lambda *args: dataclasses.replace(find(*args), check=lambda dataset, reader: ()),
    )
    cfg, _ = load_config(name)
    pytest.importorskip(cfg.default_scope)
    loaders = [cfg[key].dataset for key in ('train_dataloader', 'val_dataloader')]
    assert check_classes(cfg, list(iter_datasets(loaders))) == []
