"""Kinds of errors, AP, confusions and the worst images, on cases worked out by hand."""

import contextlib
import io
import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmattn.analysis.errors.base import Table, Worst, class_names, confusions
from mmattn.analysis.errors.boxes import MOST, Image, Pairs, overlaps
from mmattn.analysis.errors.pictures import pixels
from mmattn.analysis.errors.report import print_tables, require_same
from mmattn.analysis.errors.tide import KINDS, Tide
from mmattn.utils.errors import UserError

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)
THIRD = (0, 0, 10, 3)  # IoU of 0.3 with A


def image(objects, detections, ignored=()):
    """Objects as (box, class), detections as (box, class, score)."""
    objects = [*objects, *ignored]
    boxes = np.array([box for box, _ in objects], dtype=float).reshape(-1, 4)
    return Image(
        'image.png',
        boxes,
        np.array([label for _, label in objects], dtype=int),
        (boxes[:, 2:] - boxes[:, :2]).prod(1),
        np.arange(len(objects)) >= len(objects) - len(ignored),
        np.array([box for box, _, _ in detections], dtype=float).reshape(-1, 4),
        np.array([label for _, label, _ in detections], dtype=int),
        np.array([score for _, _, score in detections], dtype=float),
    )


def random_images(seed, number=20, classes=3):
    """Objects, some of them crowds, and detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(number):
        corners = rng.uniform(0, 150, (rng.integers(0, 6), 2))
        boxes = np.hstack([corners, corners + rng.uniform(8, 120, corners.shape)])
        labels = rng.integers(0, classes, len(boxes))
        which = np.repeat(np.arange(len(boxes)), rng.integers(0, 4, len(boxes)))
        corners = rng.uniform(0, 150, (rng.integers(0, 4), 2))
        others = np.hstack([corners, corners + rng.uniform(8, 100, corners.shape)])
        found = np.vstack([boxes[which] + rng.normal(0, 8, (len(which), 4)), others])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        given = np.concatenate([labels[which], rng.integers(0, classes, len(others))])
        given = np.where(rng.random(len(given)) < 0.8, given, rng.integers(0, classes, len(given)))
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        crowds, scores = rng.random(len(boxes)) < 0.15, rng.random(len(found)).round(2)
        images.append(Image('', boxes, labels, areas, crowds, found, given, scores))
    return images


ONE_ERROR = {
    # kind: objects, detections, dAP when it is mended; without errors AP is 1
    'classification': ([(A, 0)], [(A, 1, 0.9)], 1),
    'localisation': ([(A, 0)], [(THIRD, 0, 0.9)], 1),
    # class 0 has an AP of 1, class 1 of a half
    'both': ([(A, 0), (B, 1)], [(A, 0, 0.7), (THIRD, 1, 0.9), (B, 1, 0.8)], 0.25),
    # precision 1 at 51 of the 101 recalls, 2/3 at the others
    'duplicate': ([(A, 0), (B, 0)], [(A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)], 50 / 101 / 3),
    'background': ([(A, 0)], [(FAR, 0, 0.9), (A, 0, 0.8)], 0.5),
    # recall ends at a half
    'missed': ([(A, 0), (B, 0)], [(A, 0, 0.9)], 50 / 101),
}


@pytest.mark.parametrize('kind', KINDS)
def test_tide_tells_each_kind_of_error_and_what_it_costs(kind):
    objects, detections, gain = ONE_ERROR[kind]
    tide = Tide([image(objects, detections)], 2)
    assert {name: tide.counts[name] for name in KINDS} == {name: name == kind for name in KINDS}
    assert tide.gains[kind] == pytest.approx(gain, abs=1e-12)
    assert tide.ap == pytest.approx(1 - gain, abs=1e-12)
    others = [tide.gains[name] for name in KINDS if name != kind]
    assert others == pytest.approx([0] * 5, abs=1e-12)
    false = 'negatives' if kind == 'missed' else 'positives'
    assert tide.counts[f'false {false}'] == 1


def test_only_the_surest_detection_of_an_object_is_put_right():
    # Both overlap A by less than a half; the surer one becomes right, the other one goes.
    detections = [(THIRD, 0, 0.9), ((0, 0, 3, 10), 0, 0.8), (B, 0, 0.7)]
    tide = Tide([image([(A, 0), (B, 0)], detections)], 1)
    assert tide.counts['localisation'] == 2
    assert tide.ap + tide.gains['localisation'] == pytest.approx(1)
    # A is found already: its further detection goes, as a false positive does.
    tide = Tide([image([(A, 0), (B, 0)], [(THIRD, 0, 0.9), (A, 0, 0.8)])], 1)
    assert tide.counts['localisation'] == tide.counts['missed'] == 1
    assert tide.ap + tide.gains['localisation'] == pytest.approx(51 / 101)


def test_an_object_that_another_error_covers_is_not_missed():
    tide = Tide([image([(A, 0)], [(A, 1, 0.9)])], 2)
    assert tide.counts['missed'] == 0 and tide.counts['false negatives'] == 1


def test_crowds_are_neither_objects_nor_background():
    crowd = [((40, 40, 80, 80), 0)]
    images = [image([(A, 0)], [(FAR, 0, 0.9), (A, 0, 0.8), (FAR, 1, 0.9)], crowd)]
    tide = Tide(images, 2)
    # That of class 0 is passed over, that of class 1 is none of the crowd.
    assert tide.ap == 1 and tide.counts['false positives'] == tide.counts['background'] == 1


def test_an_image_without_objects_and_one_without_detections():
    tide = Tide([image([], [(A, 0, 0.9)]), image([(A, 0)], []), image([(A, 0)], [(A, 0, 0.8)])], 1)
    assert tide.counts['background'] == tide.counts['missed'] == 1
    assert tide.ap == pytest.approx(51 / 101 / 2)


def test_overlaps():
    boxes = np.array([A, THIRD, FAR], dtype=float)
    assert overlaps(boxes[:2], boxes).tolist() == [[1, 0.3, 0], [0.3, 1, 0]]
    assert overlaps(boxes[1:2], boxes, crowd=True).tolist() == [[1, 1, 0]]
    nothing = np.zeros((1, 4))
    assert overlaps(nothing, nothing).tolist() == [[0]]


def test_a_hundred_detections_of_a_class_count():
    many = [(A, 0, 0.5 + index / 1000) for index in range(MOST + 5)] + [(B, 1, 0.1)]
    found = image([], many)
    assert len(found.scores) == MOST + 1 and found.scores[0] == 0.5 + (MOST + 4) / 1000
    assert found.found_labels[-1] == 1


def with_ellipses(image):
    """The same image with masks: the ellipses that fill its boxes."""
    from pycocotools import mask

    y, x = np.mgrid[:280, :280]

    def lengths(boxes):
        filled = []
        for left, top, right, bottom in boxes:
            wide = (2 * x - left - right) / (right - left)
            high = (2 * y - top - bottom) / (bottom - top)
            filled.append(mask.encode(np.asfortranarray(wide**2 + high**2 <= 1, dtype=np.uint8)))
        return filled

    return replace(image, masks=lengths(image.boxes), found_masks=lengths(image.found))


@pytest.mark.parametrize('shape', ['bbox', 'segm'])
@pytest.mark.parametrize('seed', range(3))
def test_ap_is_that_of_pycocotools(seed, shape):
    pytest.importorskip('faster_coco_eval')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from mmattn.analysis.errors.average_precision import average_precisions

    images, boxes, found = random_images(seed), [], []
    if shape == 'segm':
        images = [with_ellipses(each) for each in images]
    for index, each in enumerate(images):
        first, first_found = len(boxes), len(found)
        for box, label, area, crowd in zip(
            each.boxes, each.labels, each.areas, each.ignored, strict=True
        ):
            boxes.append(dict(image_id=index, category_id=int(label), area=area, id=len(boxes) + 1))
            boxes[-1].update(bbox=[*box[:2], *(box[2:] - box[:2])], iscrowd=int(crowd))
        for box, label, score in zip(each.found, each.found_labels, each.scores, strict=True):
            found.append(dict(image_id=index, category_id=int(label), score=float(score)))
            found[-1].update(bbox=[*box[:2], *(box[2:] - box[:2])])
        if shape == 'segm':
            for one, mask in zip(boxes[first:], each.masks, strict=True):
                one['segmentation'] = mask
            for one, mask in zip(found[first_found:], each.found_masks, strict=True):
                del one['bbox']  # else a detection has the size of its box
                one['segmentation'] = mask
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dict(
            images=[dict(id=index, height=280, width=280) for index in range(len(images))],
            categories=[dict(id=label) for label in range(3)],
            annotations=boxes,
        )
        truth.createIndex()
        reference = COCOeval(truth, truth.loadRes(found), shape)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    ours = average_precisions(images, 3)
    means = [np.nanmean(figures) for figures in ours.values()]
    np.testing.assert_allclose(means, reference.stats[:6], rtol=0, atol=1e-12)
    assert 0.1 < means[0] < 0.9
    assert Tide(images, 3).ap == pytest.approx(reference.stats[1], abs=1e-12)


def test_a_detection_belongs_to_an_object_of_its_class_first():
    # Both detections overlap both objects; that of class 1 comes first, but A is of class 0.
    near = (1, 0, 11, 10)
    pairs = Pairs(image([(A, 0), (near, 1)], [(A, 1, 0.9), (near, 0, 0.8)]), 0.3)
    assert pairs.partner.tolist() == [1, 0] and pairs.right.all() and not pairs.missed.any()
    pairs = Pairs(image([(A, 0), (B, 0)], [(A, 1, 0.9), (B, 0, 0.2)]), 0.3)
    assert pairs.which.tolist() == [0] and pairs.partner.tolist() == [0]
    assert pairs.missed.tolist() == [True, True]


def dataset(classes=('cat', 'dog'), **more):
    return SimpleNamespace(metainfo=dict(classes=classes), **more)


def test_errors_of_detections():
    pytest.importorskip('mmdet')
    pytest.importorskip('faster_coco_eval')
    from mmdet.structures import DetDataSample

    from mmattn.analysis.errors.detection import DetectionErrors

    objects = [(A, 0, 0), (B, 1, 0), (FAR, 1, 0), ((70, 0, 90, 20), 0, 1)]
    instances = [dict(bbox=box, bbox_label=label, ignore_flag=i) for box, label, i in objects]
    infos = [dict(img_id=7, instances=instances), dict(img_id=8, instances=[])]
    errors = DetectionErrors(dataset(get_data_info=infos.__getitem__), [], 0.3)
    detections = [
        ([A, B, (71, 1, 79, 9), (100, 100, 110, 110), FAR], [0, 0, 0, 1, 1]),
        ([A], [1]),
    ]
    for number, (boxes, labels) in enumerate(detections):
        sample = DetDataSample(metainfo=dict(img_id=7 + number, img_path=f'{number}.png'))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(labels),
            scores=torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2][: len(boxes)]),
        )
        errors.add(sample, torch.zeros(3, 4, 4))
    # A right; B taken for a cat; in the crowd; background as dog, twice; FAR not sure enough.
    assert errors.matrix.tolist() == [[1, 0, 0], [1, 0, 1], [0, 2, 0]]
    assert errors.worst == [dict(image='0.png', missed=2, objects=3)]
    classes, tide, pairs = errors.tables()
    assert classes.rows['cat'][:2] == (1, 1.0) and classes.rows['all'][0] == 3
    assert tide.rows['classification'][0] == 1 and tide.rows['background'][0] == 2
    assert next(iter(pairs.rows.items())) == ('background as dog', (2, 100))
    shuffled = DetectionErrors(dataset(get_data_info=infos[::-1].__getitem__), [], 0.3)
    with pytest.raises(UserError, match='shuffle=False'):
        shuffled.add(sample.new(metainfo=dict(img_id=7, img_path='')), None)
    with pytest.raises(UserError, match='no boxes of classes'):
        errors.add(DetDataSample(), None)
    nothing = DetectionErrors(dataset(get_data_info=lambda index: infos[1]), [], 0.3)
    nothing.add(sample, None)
    with pytest.raises(UserError, match='no annotated objects'):
        nothing.tables()


def test_errors_of_masks(tmp_path):
    """The same figures as those of mmdet's own evaluator; polygons and run lengths are read."""
    pytest.importorskip('faster_coco_eval')
    metrics = pytest.importorskip('mmdet.evaluation')
    from mmdet.structures import DetDataSample

    from mmattn.analysis.errors.detection import DetectionErrors

    corners = [(5, 5), (35, 5), (35, 30), (5, 40)], [(45, 40), (60, 20), (75, 55)]
    polygons = [[float(each) for corner in shape for each in corner] for shape in corners]
    lengths = dict(size=[64, 80], counts=[10 * 64, 20 * 64, 50 * 64])  # columns 10 to 29
    annotations = [
        dict(image_id=1, category_id=1, segmentation=[polygons[0]], bbox=[5, 5, 30, 35], area=975),
        dict(
            image_id=1, category_id=2, segmentation=[polygons[1]], bbox=[45, 20, 30, 35], area=450
        ),
        dict(image_id=2, category_id=1, segmentation=lengths, bbox=[10, 0, 20, 64], area=1280),
    ]
    for number, each in enumerate(annotations, 1):
        each.update(id=number, iscrowd=0)
    content = dict(
        images=[dict(id=i, file_name=f'{i}.png', width=80, height=64) for i in (1, 2)],
        annotations=annotations,
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    )
    file = tmp_path / 'masks.json'
    file.write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        metric = metrics.CocoMetric(ann_file=str(file), metric='segm')
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    y, x = torch.meshgrid(torch.arange(64), torch.arange(80), indexing='ij')
    columns = (x >= 14) & (x < 30)
    found = [
        # All of the box: an IoU of 0.93 with the box, of 0.84 with the mask. Half of the other.
        ([(5, 5, 35, 40), (45, 20, 75, 55)], [(x >= 5) & (x < 35) & (y >= 5) & (y < 38), y < 5]),
        # The box is somewhere else, the mask is not.
        ([(60, 40, 70, 60)], [columns]),
    ]
    infos = []
    for number, each in ((1, annotations[:2]), (2, annotations[2:])):
        listed = [
            dict(bbox=(0, 0, 1, 1), bbox_label=one['category_id'] - 1, mask=one['segmentation'])
            for one in each
        ]
        infos.append(dict(img_id=number, height=64, width=80, instances=listed))
    data = dataset(get_data_info=infos.__getitem__)
    of_file = DetectionErrors(data, [metric], 0.3, by='masks')
    of_data = DetectionErrors(data, [], 0.3, by='masks')
    boxes = DetectionErrors(data, [metric], 0.3)
    for number, (places, masks) in enumerate(found, 1):
        meta = dict(img_id=number, img_path='', ori_shape=(64, 80))
        sample = DetDataSample(metainfo=meta)
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(places, dtype=torch.float32),
            labels=torch.tensor([0, 1][: len(places)]),
            scores=torch.tensor([0.9, 0.8][: len(places)]),
            masks=torch.stack(masks),
        )
        for errors in (of_file, of_data, boxes):
            errors.add(sample, None)
        metric.process({}, [sample.to_dict()])
    with contextlib.redirect_stdout(io.StringIO()):
        expected = metric.evaluate(2)
    for errors in (of_file, of_data):
        classes, tide, _ = errors.tables()
        assert classes.title == "COCO's AP of masks"
        assert classes.rows['all'][1] == pytest.approx(expected['coco/segm_mAP'], abs=6e-4)
        assert classes.rows['all'][2] == pytest.approx(expected['coco/segm_mAP_50'], abs=6e-4)
        assert 0.3 < classes.rows['all'][1] < 0.5
        # The mask of the dog is beside it, its box is not.
        assert tide.rows['background'][0] == 1 == tide.rows['missed'][0]
        assert errors.matrix.tolist() == [[2, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert boxes.matrix.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]

    del sample.pred_instances.masks
    with pytest.raises(UserError, match='the model predicts no masks: leave out --by masks'):
        of_file.add(sample, None)
    sample.pred_instances.masks = torch.stack(masks)
    del infos[0]['instances'][1]['mask']
    with pytest.raises(UserError, match='image 1 of the data has no masks'):
        DetectionErrors(data, [], 0.3, by='masks').add(sample.new(metainfo=dict(img_id=1)), None)


def test_a_missing_library_is_named_before_the_pass(monkeypatch):
    pytest.importorskip('mmdet')
    from mmattn.analysis.errors.detection import DetectionErrors

    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    with pytest.raises(UserError, match='faster-coco-eval'):
        DetectionErrors(dataset(), [], 0.3)


def test_errors_of_label_maps():
    pytest.importorskip('mmseg')
    from mmseg.structures import SegDataSample

    from mmattn.analysis.errors.segmentation import SegmentationErrors

    def judged(*metrics):
        errors = SegmentationErrors(dataset(('road', 'sky', 'car', 'sea')), metrics, 0.3)
        for number, (truth, found) in enumerate(
            [([[0, 0, 1, 255]], [[0, 2, 1, 1]]), ([[0, 1, 1, 1]], [[1, 0, 0, 1]])]
        ):
            sample = SegDataSample(metainfo=dict(img_path=f'{number}.png'))
            sample.gt_sem_seg = PixelData(data=torch.tensor([truth]))
            sample.pred_sem_seg = PixelData(data=torch.tensor([found]))
            errors.add(sample, torch.zeros(3, 1, 4))
        return errors

    errors = judged()
    assert errors.matrix[:3, :3].tolist() == [[1, 1, 1], [2, 2, 0], [0, 0, 0]]
    assert errors.by_class[:3].tolist() == [20, 40, 0] and math.isnan(errors.by_class[3])
    assert errors.tables()[0].rows['mean'][1] == pytest.approx(20)
    assert errors.worst == [dict(image='1.png', wrong=0.75), dict(image='0.png', wrong=1 / 3)]
    assert judged(SimpleNamespace(ignore_index=1)).matrix.sum() == 3
    with pytest.raises(UserError, match='no label maps'):
        errors.add(SegDataSample(), torch.zeros(3, 1, 4))


def test_errors_of_classes():
    pytest.importorskip('mmpretrain')
    from mmpretrain.structures import DataSample

    from mmattn.analysis.errors.classification import ClassificationErrors

    errors = ClassificationErrors(dataset(('cat, felis', 'dog')), [], 0.3)
    scores = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.0, 0.9], [0.6, 0.4, 0.0]]
    for number, (truth, score) in enumerate(zip([0, 0, 1, 1], scores, strict=True)):
        sample = DataSample(metainfo=dict(img_path=f'{number}.png'))
        errors.add(sample.set_gt_label(truth).set_pred_score(torch.tensor(score)), None)
    assert errors.classes == ['cat', 'dog', 'class 2']
    assert errors.matrix.tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert errors.by_class[:2].tolist() == [50, 0]
    assert errors.tables()[0].rows['all'][:2] == (4, 25.0)
    assert [each['image'] for each in errors.worst] == ['2.png', '1.png', '3.png']
    assert errors.worst[0]['predicted'] == 'class 2'
    several = DataSample().set_gt_label([0, 1]).set_pred_score(torch.ones(3))
    with pytest.raises(UserError, match=r'one annotated class.*gt_label=\[0, 1\]'):
        errors.add(several, torch.zeros(3, 1, 1))


def test_images_come_from_a_file_or_from_the_pipeline(tmp_path):
    cv2.imwrite(str(tmp_path / 'red.png'), np.array([[[0, 0, 200]]], dtype=np.uint8))
    assert pixels(str(tmp_path / 'red.png')).tolist() == [[[200, 0, 0]]]
    assert pixels(torch.tensor([[[200.0]], [[0.0]], [[0.0]]])).tolist() == [[[200, 0, 0]]]


def test_classes_have_different_names():
    assert class_names(['crane, bird', 'dog', 'crane']) == ['crane (0)', 'dog', 'crane (2)']


def test_the_worst_are_kept():
    worst = Worst(2)
    for figure, name in ((1, 'a'), (3, 'b'), (1, 'c'), (3, 'd'), (2, 'e')):
        worst.add(figure, name)
    assert worst.sorted() == [(3, 'b'), (3, 'd')]


def test_confusions_are_in_order():
    table = confusions(np.array([[5, 1, 0], [3, 1, 0], [0, 0, 9]]), 'abc')
    assert table.rows == {'b as a': (3, 75), 'a as b': (1, 100 / 6)}


def test_tables_are_printed_beside_the_baseline(capsys):
    rows = {f'class {index}': (1, 1 - index / 100) for index in range(50)}
    table = Table('classes', 'AP of [classes]', ('class', 'objects', 'AP'), {}, of_data=1)
    nan = math.nan
    table.rows.update({**rows, 'c [x]': (1, 0.1), 'never': (0, nan), 'all': (50, 0.755)})
    other = Table('classes', '', table.columns, {'class 49': (1, 0.25), 'all': (1, nan)}, of_data=1)
    print_tables([table], [other])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ['class', 'objects', 'AP', 'baseline'] in lines
    assert ['class', '49', '1', '0.510', '0.250'] in lines and ['all', '50', '0.755', '-'] in lines
    assert ['class', '11', '1', '0.890', '-'] in lines
    assert sum(line[:1] == ['class'] for line in lines) == 40  # 39 and the header
    assert ['-', '1', 'do', 'not', 'occur'] in lines
    assert ['AP', 'of', '[classes]'] in lines


def test_a_baseline_of_other_data_is_refused():
    mine = SimpleNamespace(classes=['a', 'b'], number=3)
    require_same(mine, SimpleNamespace(classes=['a', 'b'], number=3))
    with pytest.raises(UserError, match=r'other classes.*a, c \(2\) instead of a, b \(2\)'):
        require_same(mine, SimpleNamespace(classes=['a', 'c'], number=3))
    with pytest.raises(UserError, match='other images.*: 2 instead of 3'):
        require_same(mine, SimpleNamespace(classes=['a', 'b'], number=2))
