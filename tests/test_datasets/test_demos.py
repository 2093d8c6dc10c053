"""Every format is read back by the toolbox's own dataset class."""

import dataclasses

import numpy as np
import pytest
from mmengine.registry import DATASETS

from mmattn.datasets.demos import DemoSplit, find_format, supported_datasets
from mmattn.datasets.folders import members
from mmattn.demo.dataset_configs import build_unloaded, dataset_class, make_paths, relocate
from mmattn.demo.tasks import TASKS

ADE = dict(img_path='images/training', seg_map_path='annotations/training')


def converted(kind, split):
    """A data set whose converter writes the json file."""
    return dict(
        type=f'mmattn.{kind}',
        data_root='data/own/',
        ann_file=f'coco/{split}.json',
        data_prefix=dict(img=''),
    )


CASES = {
    'coco': (
        'mmdet',
        dict(
            type='CocoDataset',
            data_root='data/coco/',
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
        ),
    ),
    'voc': (
        'mmdet',
        dict(
            type='VOCDataset',
            data_root='data/VOCdevkit/',
            ann_file='VOC2007/ImageSets/Main/trainval.txt',
            data_prefix=dict(sub_data_root='VOC2007/'),
        ),
    ),
    'visdrone': ('mmdet', converted('VisDroneDataset', 'train')),
    'exdark': ('mmdet', converted('ExDarkDataset', 'val')),
    'flir': ('mmdet', converted('FLIRDataset', 'thermal_train')),
    'ade20k': ('mmseg', dict(type='ADE20KDataset', data_root='data/ade', data_prefix=ADE)),
    'cityscapes': (
        'mmseg',
        dict(
            type='CityscapesDataset',
            data_root='data/cityscapes/',
            data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        ),
    ),
    'drive': (
        'mmseg',
        dict(
            type='DRIVEDataset',
            data_root='data/DRIVE',
            data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        ),
    ),
    'voc_segmentation': (
        'mmseg',
        dict(
            type='PascalVOCDataset',
            data_root='data/VOCdevkit/VOC2012',
            data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
            ann_file='ImageSets/Segmentation/train.txt',
        ),
    ),
    'ade20k_subset': (
        'mmseg',
        dict(
            type='ADE20KDataset',
            data_root='data/ade',
            data_prefix=ADE,
            metainfo=dict(classes=('tree', 'sky', 'road')),
        ),
    ),
    'imagenet': ('mmpretrain', dict(type='ImageNet', data_root='data/imagenet', split='train')),
    'imagenet_list': (
        'mmpretrain',
        dict(
            type='ImageNet',
            data_root='data/imagenet',
            ann_file='meta/train.txt',
            data_prefix='train',
        ),
    ),
    'custom': ('mmpretrain', dict(type='CustomDataset', data_root='mine', data_prefix='train')),
    'cifar10': ('mmpretrain', dict(type='CIFAR10', data_root='data/cifar10', split='train')),
    'cifar100': ('mmpretrain', dict(type='CIFAR100', data_root='data/cifar100/', split='test')),
}
IMAGES = 12
FEWER = {'ade20k_subset': 3, 'drive': 2}


def generate(name, folder, seed=0):
    """Writes one part and returns its loaded dataset, style and task."""
    scope, template = CASES[name]
    pytest.importorskip(scope)
    leaf = dict(template)
    relocate(leaf, {}, folder)
    make_paths(leaf)
    dataset = build_unloaded(leaf, scope)
    form = find_format(type(dataset))
    style = TASKS[form.task].style
    if name in FEWER:
        style = dataclasses.replace(style, categories=FEWER[name])
    split = DemoSplit(name, IMAGES, form.size or (80, 64), style, seed, lambda: None)
    form.write(dataset, split)
    if form.adapt:
        form.adapt(dataset, leaf, style.categories)
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.build(leaf), style, form.task


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.mark.parametrize('name', CASES)
def test_the_toolbox_reads_what_is_written(name, tmp_path):
    dataset, style, task = generate(name, tmp_path)
    assert len(dataset) == IMAGES
    infos = [dataset.get_data_info(index) for index in range(IMAGES)]
    if task == 'classification':
        assert {info['gt_label'] for info in infos} == set(range(style.categories))
    elif task == 'detection':
        items = [item for info in infos for item in info['instances'] if not item['ignore_flag']]
        assert len(items) >= IMAGES
        assert {item['bbox_label'] for item in items} == set(range(style.categories))
        for item in items:
            x1, y1, x2, y2 = item['bbox']
            assert 0 <= x1 < x2 <= 80
            assert 0 <= y1 < y2 <= 64
    else:
        from mmseg.datasets.transforms import LoadAnnotations

        seen = {int(label) for info in infos for label in np.unique(_labels(info, LoadAnnotations))}
        assert seen - {255} == set(range(style.categories))
        assert (255 in seen) == dataset.reduce_zero_label


def _labels(info, load):
    # Its argument overrides the dataset's reduce_zero_label; None leaves it alone.
    return load()(info)['gt_seg_map']


@pytest.mark.parametrize('name', CASES)
def test_same_seed_same_bytes(name, tmp_path):
    for run, seed in (('one', 0), ('same', 0), ('other', 1)):
        generate(name, tmp_path / run, seed)
    one, same, other = (files_in(tmp_path / run) for run in ('one', 'same', 'other'))
    assert one == same
    assert one.keys() == other.keys()
    assert one != other


def test_coco_masks_lie_in_their_boxes(tmp_path):
    dataset, _, _ = generate('coco', tmp_path)
    for index in range(IMAGES):
        for item in dataset.get_data_info(index)['instances']:
            ring = np.array(item['mask'][0]).reshape(-1, 2)
            assert [*ring.min(0), *ring.max(0)] == pytest.approx(item['bbox'], abs=0.02)


def test_a_subclass_is_supported_and_another_kind_of_file_is_not():
    pytest.importorskip('mmdet')
    wanted = find_format(dataset_class(dict(type='CityscapesDataset'), 'mmdet'))
    assert 'CocoDataset' in wanted.readers
    with pytest.raises(ValueError, match='CocoPanopticDataset.*CocoDataset'):
        find_format(dataset_class(dict(type='CocoPanopticDataset'), 'mmdet'))


def test_every_supported_type_is_tested():
    tested = {template['type'].rpartition('.')[2] for _, template in CASES.values()}
    covered = {
        form.readers: tested & set(form.readers) or form.readers[0] == 'BaseSegDataset'
        for form in members('demo').values()
    }
    assert all(covered.values())


def test_the_originals_lie_beside_what_was_converted(tmp_path):
    datasets = {name: generate(name, tmp_path / name)[0] for name in ('visdrone', 'exdark', 'flir')}
    regions = [
        item
        for index in range(IMAGES)
        for item in datasets['visdrone'].get_data_info(index)['instances']
        if item['bbox_label'] == -1
    ]
    assert regions
    for name, pattern in (
        ('visdrone', 'VisDrone2019-DET-train/annotations/*.txt'),
        ('exdark', 'ExDark_Annno/*/val_*.jpg.txt'),
        ('flir', 'images_thermal_train/data/*.jpg'),
    ):
        assert len(list((tmp_path / name / 'own').glob(pattern))) == IMAGES
    assert 'CocoDataset' in supported_datasets()
