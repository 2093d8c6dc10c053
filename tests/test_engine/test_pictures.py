"""Predictions are drawn beside the ground truth, for every task, readable on small images."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from mmattn.engine.pictures import SIDE, STRIP, Pictures
from mmattn.utils.errors import InvalidValue, UserError

HEIGHT, SMALL = 96, 128
FACTOR = SIDE // SMALL
RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)
META = dict(classes=('cat', 'dog, hound'), palette=[RED, BLUE])
# The corners of a box and of its mask, and where their left edge lies in an enlarged picture.
BOX = (20.0, 30.0, 80.0, 90.0)
EDGE = (STRIP + 60 * FACTOR, 20 * FACTOR)
INSIDE = (STRIP + 70 * FACTOR, 50 * FACTOR)


@pytest.fixture
def draw(tmp_path):
    """Draws samples of a toolbox on black images and returns the pictures, RGB."""

    def run(scope, *samples, inputs=None, **config):
        pictures = Pictures(Config(dict(default_scope=scope, **config)), str(tmp_path / 'out'))
        pictures.describe(META)
        if inputs is None:
            inputs = [torch.zeros(3, HEIGHT, SMALL, dtype=torch.uint8)] * len(samples)
            for number, sample in enumerate(samples):
                path = tmp_path / f'{number}' / 'image.png'
                path.parent.mkdir()
                cv2.imwrite(str(path), np.zeros((HEIGHT, SMALL, 3), np.uint8))
                sample.set_metainfo(dict(img_path=str(path)))
        pictures.draw(inputs, samples)
        assert len(set(pictures.paths)) == len(samples)
        return [cv2.imread(path)[..., ::-1].astype(int) for path in pictures.paths]

    return run


def detection(labels=(0,), ignored=(), scores=(), masks=None):
    from mmdet.structures import DetDataSample

    sample = DetDataSample()
    for name, given in (('gt', labels), ('ignored', ignored), ('pred', [1] * len(scores))):
        boxes = torch.tensor([BOX] * len(given)).reshape(-1, 4)
        instances = InstanceData(bboxes=boxes, labels=torch.tensor(given, dtype=torch.long))
        if masks is not None:
            instances.masks = masks(len(given), name)
        setattr(sample, f'{name}_instances', instances)
    sample.pred_instances.scores = torch.tensor(scores)
    return sample


def is_like(pixel, colour):
    """Whether a pixel is the colour, drawn half transparent or more on black."""
    return np.abs(pixel / max(pixel.max(), 1) - np.array(colour) / max(colour)).max() < 0.1


def test_boxes_grow_with_the_image(draw):
    pytest.importorskip('mmdet')
    sample = detection(scores=[0.9])
    (picture,) = draw('mmdet', sample)
    assert picture.shape == (STRIP + HEIGHT * FACTOR, 2 * SIDE, 3)
    row, column = EDGE
    assert is_like(picture[row, column], RED) and is_like(picture[row, SIDE + column], BLUE)
    assert not picture[INSIDE].any()
    # Two titles on paper.
    assert all((panel < 100).any() for panel in np.split(picture[:STRIP], 2, axis=1))
    # Evaluators may still want the sample.
    assert torch.equal(sample.pred_instances.bboxes, torch.tensor([BOX]))


def test_unsure_detections_are_not_drawn(draw):
    pytest.importorskip('mmdet')
    (picture,) = draw('mmdet', detection(scores=[0.2]))
    assert not picture[STRIP:, SIDE:].any()


def test_the_surest_detection_lies_on_top(draw):
    pytest.importorskip('mmdet')
    sample = detection(scores=[0.9, 0.6])
    sample.pred_instances.labels = torch.tensor([0, 1])
    (picture,) = draw('mmdet', sample)
    row, column = EDGE
    assert picture[row, SIDE + column].argmax() == 0


def test_labels_of_small_and_large_boxes_have_the_same_letters(draw):
    pytest.importorskip('mmdet')
    large, small = detection(), detection()
    small.gt_instances.bboxes[:, 2:] -= 30
    letters = [(picture[STRIP:].min(-1) > 150).sum() for picture in draw('mmdet', large, small)]
    assert letters[0] == pytest.approx(letters[1], rel=0.1) and letters[0] > 50


@pytest.mark.parametrize('labels', [(0,), ()])
def test_ignored_boxes_are_grey_and_stay_inside(labels, draw):
    pytest.importorskip('mmdet')
    sample = detection(labels, ignored=(-1,))
    sample.ignored_instances.bboxes += 10
    (picture,) = draw('mmdet', sample)
    row, column = EDGE
    assert is_like(picture[row, column + 10 * FACTOR], GREY)


def test_masks_grow_with_the_image(draw):
    pytest.importorskip('mmdet')
    from mmdet.structures.mask import PolygonMasks

    def masks(number, name):
        x1, y1, x2, y2 = BOX
        outline = np.array([x1, y1, x2, y1, x2, y2, x1, y2])
        polygons = PolygonMasks([[outline]] * number, HEIGHT, SMALL)
        return torch.from_numpy(polygons.to_ndarray()).bool() if name == 'pred' else polygons

    sure, unsure = draw('mmdet', *(detection(scores=[s], masks=masks) for s in (0.9, 0.1)))
    row, column = INSIDE
    assert sure[row, column].argmax() == 0 and sure[row, SIDE + column].argmax() == 2
    assert not unsure[row, SIDE + column].any()


def test_label_maps_are_side_by_side(draw):
    pytest.importorskip('mmseg')
    from mmseg.structures import SegDataSample

    truth = torch.zeros(1, HEIGHT, SMALL, dtype=torch.long)
    truth[..., SMALL // 2 :] = 255
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=truth), pred_sem_seg=PixelData(data=torch.ones_like(truth))
    )
    (picture,) = draw('mmseg', sample)
    assert picture.shape == (STRIP + HEIGHT * FACTOR, 2 * SIDE, 3)
    assert is_like(picture[-9, 9], RED) and is_like(picture[-9, SIDE + 9], BLUE)
    assert not picture[-9, SIDE - 9].any()


def test_labels_are_where_mmseg_writes_them(tmp_path):
    mmseg = pytest.importorskip('mmseg.visualization')
    pictures = Pictures(Config(dict(default_scope='mmseg')), str(tmp_path))
    rng = np.random.default_rng(0)
    for size in ((1, 1), (5, 8), (20, 9)):
        mask = rng.integers(0, 2, size, dtype=np.uint8)
        mask[0, 0] = 1
        theirs = mmseg.SegLocalVisualizer._get_center_loc(pictures.visualizer, mask)
        assert (pictures.visualizer._get_center_loc(mask) == theirs).all()


def test_classes_are_written_onto_images_without_a_file(draw):
    pytest.importorskip('mmpretrain')
    from mmpretrain.structures import DataSample

    # A demo's data set knows fewer classes than the model.
    score = torch.tensor([0.1, 0.1, 0.1, 0.7])
    sample = DataSample().set_gt_label(0).set_pred_label(3).set_pred_score(score)
    inputs = [torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (0, 90)]
    dark, grey = draw('mmpretrain', sample, sample, inputs=inputs)
    assert dark.shape == (SIDE, SIDE, 3)
    assert dark.max() > 200 and not dark[200:].any()
    assert (grey[200:] == 90).all()


def test_images_without_annotations_are_drawn_alone(draw):
    pytest.importorskip('mmdet')
    sample = detection(scores=[0.9])
    del sample.gt_instances, sample.ignored_instances
    (picture,) = draw('mmdet', sample, visualizer=dict(type='Visualizer'))
    assert picture.shape[1] == SIDE
    assert is_like(picture[EDGE], BLUE)


def test_the_visualizer_of_the_config_draws(draw):
    pytest.importorskip('mmdet')
    own = dict(type='DetLocalVisualizer', bbox_color=(0, 255, 0), vis_backends=[dict(type='None')])
    (picture,) = draw('mmdet', detection(scores=[0.9]), visualizer=own)
    assert is_like(picture[EDGE], (0, 255, 0))


def test_what_cannot_be_drawn_is_refused_at_once(tmp_path):
    with pytest.raises(InvalidValue, match="mmdet, mmseg, mmpretrain.*'mmengine'"):
        Pictures(Config(dict(default_scope='mmengine')), str(tmp_path))
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file: File exists'):
        Pictures(Config(dict(default_scope='mmdet')), str(tmp_path / 'file'))
