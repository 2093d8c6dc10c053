from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

import mmattn  # noqa: F401
from mmattn.datasets import VOCDataset
from mmattn.engine import UserError, check_data, set_data_root

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = PROJECT / 'configs' / 'faster_rcnn_r50_scsa_bccd.py'
CLASSES = {'classes': ('cat', 'dog')}

needs_config = pytest.mark.skipif(not CONFIG.is_file(), reason='configs/ is not beside the tests')


@pytest.fixture
def tree(voc_tree, tmp_path):
    files = {
        'a': voc_tree.xml(
            [
                voc_tree.object('dog', (11, 21, 31, 51)),
                voc_tree.object('cat', (91, 71, 130, 75), extra='<difficult>1</difficult>'),
                voc_tree.object('dog', (5, 5, 5, 5)),
                voc_tree.object('bird', (11, 21, 31, 51)),
            ]
        ),
        'b': voc_tree.xml([voc_tree.object('cat', (1, 1, 90, 70))], size=(50, 50)),
        'empty': voc_tree.xml([], size=None),
    }
    return voc_tree.write(tmp_path / 'tree', files, {'train': ['a', 'b', 'empty']}, suffix='.png')


def build(tree, **changes):
    return VOCDataset(
        **{'ann_file': 'ImageSets/Main/train.txt', 'data_root': str(tree), 'metainfo': CLASSES}
        | changes
    )


def test_boxes_are_clipped_and_dropped(tree):
    dataset = build(tree)
    assert len(dataset) == 3
    first, second, empty = (dataset.get_data_info(index) for index in range(3))
    assert first['instances'] == [
        {'bbox': [10, 20, 30, 50], 'bbox_label': 1, 'ignore_flag': 0},
        {'bbox': [90, 70, 100, 74], 'bbox_label': 0, 'ignore_flag': 1},
    ]
    assert first['img_path'] == str(tree / 'JPEGImages' / 'a.png')
    # the xml claims 50x50, the image is 100x80
    assert (second['width'], second['height']) == (100, 80)
    assert second['instances'][0]['bbox'] == [0, 0, 89, 69]
    assert (empty['width'], empty['height'], empty['instances']) == (100, 80, [])
    assert dataset.get_cat_ids(0) == [1, 0]
    assert dataset.tally.dropped_boxes == {'zero or negative area': 1, 'class not asked for': 1}


def test_the_log_says_what_was_dropped(tree, capfd):
    from mmengine.logging import MMLogger

    MMLogger.get_instance('voc_dataset_test', log_level='INFO')
    build(tree)
    logged = ''.join(capfd.readouterr())
    assert 'boxes: cat 2, dog 1' in logged
    assert '1 boxes dropped, zero or negative area (a)' in logged
    assert "class 'bird': 1" in logged


def test_same_boxes_as_mmdets_own_dataset(voc_tree, tree):
    xml_dataset = pytest.importorskip('mmdet.datasets').XMLDataset
    objects = [voc_tree.object('dog', (11, 21, 31, 51)), voc_tree.object('cat', (1, 1, 100, 80))]
    path = tree / 'Annotations' / 'plain.xml'
    path.write_text(voc_tree.xml(objects))
    (tree / 'JPEGImages' / 'a.png').rename(tree / 'JPEGImages' / 'plain.jpg')
    (tree / 'ImageSets' / 'Main' / 'plain.txt').write_text('plain\n')
    stock = xml_dataset(
        ann_file='ImageSets/Main/plain.txt',
        data_root=str(tree),
        data_prefix={'sub_data_root': ''},
        metainfo=CLASSES,
    )
    ours = build(tree, ann_file='ImageSets/Main/plain.txt')
    for key in ('instances', 'img_path', 'img_id', 'width', 'height'):
        assert ours.get_data_info(0)[key] == stock.get_data_info(0)[key]


def test_filters(tree):
    assert len(build(tree, filter_cfg={'filter_empty_gt': True})) == 2
    assert len(build(tree, filter_cfg={'filter_empty_gt': True}, test_mode=True)) == 3
    assert len(build(tree, indices=1)) == 1
    with pytest.raises(UserError, match='leaves no image'):
        build(tree, filter_cfg={'min_size': 81})
    with pytest.raises(UserError, match='bbox_min_size; it takes filter_empty_gt, min_size'):
        build(tree, filter_cfg={'bbox_min_size': 32})


def test_whole_tree_below_a_prefix(tree):
    dataset = build(
        tree, ann_file='', data_root=str(tree.parent), data_prefix={'sub_data_root': tree.name}
    )
    assert [dataset.get_data_info(index)['img_id'] for index in range(3)] == ['a', 'b', 'empty']


def test_missing_files_are_named(tree):
    (tree / 'JPEGImages' / 'a.png').unlink()
    (tree / 'Annotations' / 'b.xml').unlink()
    with pytest.raises(UserError) as error:
        build(tree)
    message = str(error.value)
    assert '2 of 3 images cannot be used' in message
    assert 'JPEGImages/a: image missing' in message
    assert 'JPEGImages/b.png: xml missing' in message


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'metainfo': None}, 'it has to hold the class names'),
        ({'metainfo': {'classes': 'cat'}}, 'it has to hold the class names'),
        ({'metainfo': {'classes': ('cat', 'cat')}}, 'named twice'),
        ({'metainfo': {'classes': ('Cat',)}}, 'do the classes Cat agree'),
        ({'data_prefix': {'img': 'JPEGImages'}}, 'data_prefix takes sub_data_root'),
        ({'ann_file': 'ImageSets/Main/no.txt'}, r'no\.txt does not exist'),
        ({'img_subdir': 'images'}, 'images does not exist'),
    ],
)
def test_errors(tree, changes, message):
    with pytest.raises(UserError, match=message):
        build(tree, **changes)


@needs_config
def test_bccd_config_yields_finite_boxes_with_an_area(shared_dir):
    utils = pytest.importorskip('mmdet.utils')
    cfg = Config.fromfile(str(CONFIG))
    set_data_root(cfg, str(shared_dir / 'data' / 'bccd'))
    check_data(cfg)
    utils.register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        train = DATASETS.build(cfg.train_dataloader.dataset)
        test = DATASETS.build(cfg.test_dataloader.dataset)
        assert (len(train), len(test)) == (292, 72)
        assert train.tally.dropped_boxes.total() == 2
        for info in (train.get_data_info(index) for index in range(len(train))):
            corners = np.array([instance['bbox'] for instance in info['instances']])
            assert np.isfinite(corners).all()
            assert (corners[:, 2:] - corners[:, :2] >= 1).all()
        names = [Path(train.get_data_info(i)['img_path']).stem for i in range(len(train))]
        # one of the two with a degenerate box, through the config's own pipeline
        sample = train[names.index('BloodImage_00338')]
        found = sample['data_samples'].gt_instances.bboxes.tensor
        assert sample['inputs'].shape == (3, 240, 320)
        assert found.isfinite().all()
        assert (found[:, 2:] > found[:, :2]).all()
        assert test[0]['data_samples'].gt_instances.bboxes.tensor.max() > 320


@needs_config
def test_bccd_config_is_rerooted_and_checked(tmp_path):
    cfg = Config.fromfile(str(CONFIG))
    with pytest.raises(UserError, match=r'data/bccd/ImageSets/Main/trainval\.txt'):
        check_data(cfg)
    set_data_root(cfg, str(tmp_path))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root.rstrip('/') == str(tmp_path)
    assert cfg.model.backbone.init_cfg is None
    assert cfg.model.backbone.attention == {'type': 'SCSA'}
