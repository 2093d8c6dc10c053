"""VisDrone's metric against numbers worked out by hand, and against plain COCO AP."""

import json

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS as ROOT_METRICS

import mmattn  # noqa: F401
from mmattn.datasets.visdrone.converter import CLASSES, IGNORED_REGION

CocoMetric = pytest.importorskip('mmdet.evaluation').CocoMetric
PEDESTRIAN, CAR = CLASSES.index('pedestrian'), CLASSES.index('car')
REGION = len(CLASSES)


@pytest.fixture
def write_truth(tmp_path):
    """Write [[(label, corners, crowd)] for each image] of 100 x 100 pixels; gives the path."""

    def write(images, with_regions=True):
        names = [*CLASSES, IGNORED_REGION] if with_regions else CLASSES
        annotations = [
            dict(
                id=0,
                image_id=image_id,
                category_id=label + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                area=(x2 - x1) * (y2 - y1),
                iscrowd=int(crowd),
            )
            for image_id, objects in enumerate(images, start=1)
            for label, (x1, y1, x2, y2), crowd in objects
        ]
        for number, annotation in enumerate(annotations, start=1):
            annotation['id'] = number
        content = dict(
            images=[
                dict(id=number, file_name=f'{number}.jpg', width=100, height=100)
                for number in range(1, len(images) + 1)
            ],
            annotations=annotations,
            categories=[dict(id=i, name=name) for i, name in enumerate(names, start=1)],
        )
        path = tmp_path / 'val.json'
        path.write_text(json.dumps(content))
        return str(path)

    return write


def evaluate(metric, detections):
    """Run a metric over [[(label, corners, score)] for each image]."""
    metric.dataset_meta = dict(classes=CLASSES)
    for image_id, found in enumerate(detections, start=1):
        labels, boxes, scores = zip(*found, strict=True) if found else ((), (), ())
        prediction = dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(labels, dtype=torch.long),
            scores=torch.tensor(scores, dtype=torch.float32),
        )
        sample = dict(pred_instances=prediction, img_id=image_id, ori_shape=(100, 100))
        metric.process({}, [sample])
    return metric.evaluate(size=len(detections))


def visdrone(path, **options):
    return ROOT_METRICS.build(dict(type='mmattn.VisDroneMetric', ann_file=path, **options))


RIGHT_HALF = (REGION, (50, 0, 100, 100), True)


def test_what_is_at_least_half_inside_a_region_is_dropped(write_truth):
    path = write_truth(
        [
            [
                RIGHT_HALF,
                (CAR, (0, 0, 20, 20), False),
                (CAR, (40, 40, 60, 60), False),  # exactly half inside: not looked for
                (CAR, (0, 60, 20, 80), False),  # never found
            ]
        ]
    )
    detections = [
        [
            (CAR, (70, 10, 90, 30), 0.99),  # inside: vanishes
            (CAR, (40, 40, 60, 60), 0.98),  # exactly half inside: vanishes
            (CAR, (38, 0, 60, 20), 0.95),  # 10 of 22 columns inside: a false positive
            (CAR, (0, 0, 20, 20), 0.90),  # found, at every IoU
        ]
    ]
    metrics = evaluate(visdrone(path, classwise=True), detections)
    # Precision 1/2 at the recalls 0, 0.01, ... 0.5, of 101 recalls.
    expected = 51 * 0.5 / 101
    for key in ('bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s'):
        assert metrics[f'visdrone/{key}'] == pytest.approx(expected)
    assert metrics['visdrone/bbox_mAP_l'] == -1
    assert metrics['visdrone/car_precision'] == pytest.approx(expected)
    assert metrics['visdrone/bus_precision'] == -1
    # The best detection that is left is the false one.
    assert metrics['visdrone/AR@1'] == 0
    for number in (10, 100, 500):
        assert metrics[f'visdrone/AR@{number}'] == pytest.approx(0.5)


def test_plain_coco_counts_them(write_truth):
    truth = [[RIGHT_HALF, (CAR, (0, 0, 20, 20), False), (CAR, (60, 40, 80, 60), False)]]
    detections = [[(CAR, (70, 10, 90, 30), 0.99), (CAR, (0, 0, 20, 20), 0.9)]]
    path = write_truth(truth)
    plain = evaluate(CocoMetric(ann_file=path), detections)
    assert plain['coco/bbox_mAP'] == pytest.approx(51 * 0.5 / 101, abs=1e-3)
    assert evaluate(visdrone(path), detections)['visdrone/bbox_mAP'] == pytest.approx(1)


def test_a_region_counts_in_its_own_image_only(write_truth):
    path = write_truth([[RIGHT_HALF], [(CAR, (70, 10, 90, 30), False)]])
    detections = [[(CAR, (70, 10, 90, 30), 0.9)], [(CAR, (70, 10, 90, 30), 0.8)]]
    metrics = evaluate(visdrone(path), detections)
    assert metrics['visdrone/bbox_mAP'] == pytest.approx(1)
    assert metrics['visdrone/AR@1'] == 1


def test_recall_counts_the_best_of_an_image_over_all_classes(write_truth):
    boxes = [(0, 0, 20, 20), (30, 0, 50, 20)]
    path = write_truth([[(PEDESTRIAN, boxes[0], False), (CAR, boxes[1], False)]])
    detections = [[(CAR, boxes[1], 0.5), (PEDESTRIAN, boxes[0], 0.6)]]
    metrics = evaluate(visdrone(path), detections)
    assert metrics['visdrone/AR@1'] == 0.5
    assert metrics['visdrone/AR@10'] == 1
    assert metrics['visdrone/bbox_mAP'] == pytest.approx(1)


def test_objects_with_score_0_are_neither_missed_nor_false(write_truth):
    path = write_truth([[(CAR, (0, 0, 20, 20), False), (CAR, (40, 0, 60, 20), True)]])
    metrics = evaluate(visdrone(path), [[(CAR, (40, 0, 60, 20), 0.9), (CAR, (0, 0, 20, 20), 0.8)]])
    assert metrics['visdrone/bbox_mAP'] == pytest.approx(1)


@pytest.mark.parametrize('with_regions', [True, False])
def test_without_a_region_it_is_coco_ap(write_truth, with_regions):
    rng = np.random.default_rng(0)

    def boxes(number):
        corners = rng.integers(0, 80, (number, 2))
        sizes = rng.integers(5, 60, (number, 2))
        return [tuple(map(int, box)) for box in np.hstack([corners, corners + sizes])]

    truth, detections = [], []
    for _ in range(12):
        objects = [(int(rng.integers(4)), box, bool(rng.random() < 0.1)) for box in boxes(9)]
        truth.append(objects)
        found = [(label, box, float(rng.random())) for label, box, _ in objects[::2]]
        found += [(int(rng.integers(4)), box, float(rng.random())) for box in boxes(6)]
        detections.append(found)
    path = write_truth(truth, with_regions)
    plain = evaluate(CocoMetric(ann_file=path), detections)
    ours = evaluate(visdrone(path), detections)
    assert 0.1 < plain['coco/bbox_mAP'] < 0.9
    for size in ('', '_50', '_75', '_s', '_m', '_l'):
        key = f'bbox_mAP{size}'
        assert ours[f'visdrone/{key}'] == pytest.approx(plain[f'coco/{key}'], abs=5.1e-4), key


def test_no_detection_at_all_is_zero(write_truth):
    path = write_truth([[(CAR, (0, 0, 20, 20), False)], []])
    metrics = evaluate(visdrone(path), [[], []])
    assert metrics['visdrone/bbox_mAP'] == 0
    assert metrics['visdrone/AR@500'] == 0


def test_detections_can_be_written_without_evaluation(write_truth, tmp_path):
    path = write_truth([[(CAR, (0, 0, 20, 20), False)]])
    prefix = str(tmp_path / 'out')
    metric = visdrone(path, format_only=True, outfile_prefix=prefix, prefix='mine')
    assert evaluate(metric, [[(CAR, (0, 0, 20, 20), 0.9)]]) == {}
    written = json.loads((tmp_path / 'out.bbox.json').read_text())
    assert [(each['category_id'], each['bbox']) for each in written] == [(CAR + 1, [0, 0, 20, 20])]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ann_file=''), "ann_file is ''"),
        (dict(ann_file='val.json', format_only=True), 'needs an outfile_prefix'),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        ROOT_METRICS.build(dict(type='mmattn.VisDroneMetric', **options))
