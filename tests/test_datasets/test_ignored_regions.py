"""The part of a box inside ignored regions, and what training does with it."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

import mmattn  # noqa: F401
from mmattn.datasets.coco_json import write_json
from mmattn.datasets.visdrone.converter import VisDroneConverter
from mmattn.datasets.visdrone.ignored_regions import coverage

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'faster_rcnn_r50_scsa_1x_visdrone.py'


@pytest.mark.parametrize(
    ('box', 'regions', 'part'),
    [
        ((0, 0, 10, 10), [], 0),
        ((0, 0, 10, 10), [(20, 0, 30, 10)], 0),
        ((0, 0, 10, 10), [(-5, -5, 30, 30)], 1),
        ((0, 0, 10, 10), [(5, 0, 30, 10)], 0.5),
        ((0, 0, 10, 10), [(5, 5, 30, 30)], 0.25),
        # side by side, overlapping, and one inside the other: a union, not a sum
        ((0, 0, 10, 10), [(0, 0, 5, 10), (5, 0, 10, 10)], 1),
        ((0, 0, 10, 10), [(0, 0, 6, 10), (4, 0, 8, 10)], 0.8),
        ((0, 0, 10, 10), [(0, 0, 5, 10), (1, 1, 3, 3)], 0.5),
        ((2.5, 0, 2.5, 10), [(0, 0, 5, 10)], 0),
    ],
)
def test_coverage(box, regions, part):
    assert coverage([box], regions) == pytest.approx([part])


def test_coverage_agrees_with_counting_pixels():
    rng = np.random.default_rng(0)

    def boxes(number):
        corners = rng.integers(0, 30, (number, 2))
        return np.hstack([corners, corners + rng.integers(1, 20, (number, 2))])

    for _ in range(20):
        regions, queries = boxes(5), boxes(8)
        mask = np.zeros((60, 60), bool)
        for x1, y1, x2, y2 in regions:
            mask[y1:y2, x1:x2] = True
        counted = [mask[y1:y2, x1:x2].mean() for x1, y1, x2, y2 in queries]
        np.testing.assert_allclose(coverage(queries, regions), counted, atol=1e-12)


@pytest.fixture(scope='module')
def shipped():
    pytest.importorskip('mmdet')
    if not CONFIG.is_file():
        pytest.skip('configs/ is not beside the tests')
    return Config.fromfile(CONFIG)


@pytest.fixture
def config(shipped, tmp_path):
    """The shipped config on two images of 256 x 256: one with objects, one with a region only."""
    folder = tmp_path / 'VisDrone2019-DET-train'
    texts = {
        '0001': '8,8,64,64,1,4,0,0\n128,0,128,256,0,0,0,0\n140,20,60,60,1,4,0,0\n',
        '0002': '128,0,128,256,0,0,0,0\n',
    }
    for name, text in texts.items():
        for kind in ('images', 'annotations'):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (256, 256)).save(folder / 'images' / f'{name}.jpg')
        (folder / 'annotations' / f'{name}.txt').write_text(text)
    results, _, _ = VisDroneConverter(tmp_path).to_coco()
    write_json(results['train'], tmp_path / 'coco' / 'train.json')
    cfg = copy.deepcopy(shipped)
    dataset = cfg.train_dataloader.dataset
    dataset.data_root = str(tmp_path)
    dataset.pipeline[2].scale = (256, 256)
    dataset.pipeline[3].prob = 0.0
    return cfg


@pytest.fixture
def scope():
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def test_regions_and_what_they_hide_are_to_be_ignored(config, scope):
    dataset = DATASETS.build(config.train_dataloader.dataset)
    # The image without a countable object is left out.
    assert len(dataset) == 1
    instances = dataset.get_data_info(0)['instances']
    assert [(each['bbox_label'], each['ignore_flag']) for each in instances] == [
        (3, 0),
        (3, 1),
        (-1, 1),
    ]
    assert dataset.get_cat_ids(0) == [3, 3]
    sample = dataset[0]['data_samples']
    assert len(sample.gt_instances) == 1
    assert sample.ignored_instances.bboxes.tensor.tolist() == [
        [140, 20, 200, 80],
        [128, 0, 256, 256],
    ]
    for changes in (dict(test_mode=True), dict(filter_cfg=None)):
        assert len(DATASETS.build({**config.train_dataloader.dataset, **changes})) == 2


def test_a_json_without_regions_is_warned_about(config, scope, capfd):
    from mmengine.logging import MMLogger

    path = Path(config.train_dataloader.dataset.data_root) / 'coco' / 'train.json'
    content = json.loads(path.read_text())
    content['categories'] = content['categories'][:10]
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] < 11]
    path.write_text(json.dumps(content))
    MMLogger.get_instance('visdrone_dataset_test', log_level='INFO')
    assert len(DATASETS.build(config.train_dataloader.dataset)) == 1
    assert "has no category 'ignored regions'" in ''.join(capfd.readouterr())


def inside_region(boxes):
    """Which boxes lie more than half in the right half; by a margin for float32."""
    return torch.from_numpy(coverage(boxes.numpy(), [(128, 0, 256, 256)]) > 0.5001)


@pytest.mark.parametrize('stock', [False, True])
def test_anchors_inside_a_region_get_no_loss(config, scope, stock):
    from mmdet.registry import MODELS

    sample = DATASETS.build(config.train_dataloader.dataset)[0]['data_samples']
    train_cfg = config.model.train_cfg.rpn
    # All anchors are sampled, so that no weight is 0 by chance.
    train_cfg.sampler.update(num=100000)
    if stock:
        train_cfg.assigner.ignore_iof_thr = -1
    head = MODELS.build({**config.model.rpn_head, 'train_cfg': train_cfg, 'test_cfg': None})
    anchors = torch.cat(
        head.prior_generator.grid_priors(
            [(256 // s,) * 2 for s in (4, 8, 16)] + [(8, 8), (4, 4)], device='cpu'
        )
    )
    sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
    sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
    _, weights, _, box_weights, *_ = head._get_targets_single(
        anchors,
        torch.ones(len(anchors), dtype=torch.bool),
        sample.gt_instances,
        dict(img_shape=(256, 256)),
        sample.ignored_instances,
    )
    hidden = inside_region(anchors) & (anchors.min(1).values >= 0) & (anchors.max(1).values <= 256)
    assert hidden.sum() > 100
    assert (weights[hidden] > 0).any() == stock
    if not stock:
        assert not box_weights[hidden].any()
    seen = ~inside_region(anchors)
    assert (weights[seen] > 0).sum() > 100


@pytest.mark.parametrize('stock', [False, True])
def test_proposals_inside_a_region_get_no_loss(config, scope, stock):
    from mmdet.registry import TASK_UTILS
    from mmengine.structures import InstanceData

    sample = DATASETS.build(config.train_dataloader.dataset)[0]['data_samples']
    train_cfg = config.model.train_cfg.rcnn
    if stock:
        train_cfg.assigner.ignore_iof_thr = -1
    assigner = TASK_UTILS.build(train_cfg.assigner)
    sampler = TASK_UTILS.build({**train_cfg.sampler, 'num': 1000})
    proposals = torch.tensor(
        [
            [10.0, 10, 70, 70],  # the object
            [20, 150, 60, 200],  # background
            [140, 20, 200, 80],  # the object that the region hides
            [150, 150, 200, 200],  # nothing, inside the region
            [100, 150, 160, 200],  # 32 of 60 columns inside
            [90, 150, 160, 200],  # 32 of 70 columns inside
        ]
    )
    gt = InstanceData(bboxes=sample.gt_instances.bboxes.tensor, labels=sample.gt_instances.labels)
    ignored = InstanceData(
        bboxes=sample.ignored_instances.bboxes.tensor, labels=sample.ignored_instances.labels
    )
    candidates = InstanceData(priors=proposals)
    result = assigner.assign(candidates, gt, ignored)
    assert result.gt_inds.tolist() == ([1, 0, 0, 0, 0, 0] if stock else [1, 0, -1, -1, -1, 0])
    sampled = sampler.sample(result, candidates, gt)
    # The ground truth joins the proposals, the hidden object does not.
    used = torch.cat([sampled.pos_priors, sampled.neg_priors]).tolist()
    wanted = [[8, 8, 72, 72], *proposals[[0, 1, 5]].tolist()]
    if stock:
        wanted += proposals[[2, 3, 4]].tolist()
    assert sorted(used) == sorted(wanted)
