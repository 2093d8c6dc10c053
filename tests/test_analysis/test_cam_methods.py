"""Class activation maps, layers and IoU by hand; no toolbox."""

import numpy as np
import pytest
import torch
from torch import nn

from mmattn.analysis.cam.iou import bootstrap, chance, iou, mask_file, masks_of
from mmattn.analysis.cam.layers import find_layer
from mmattn.analysis.cam.methods import METHODS, eigen_cam, grad_cam, grad_cam_plus_plus, hires_cam
from mmattn.analysis.cam.targets import Target, at_same_place, by_class
from mmattn.utils.errors import UnknownName, UserError

A = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [2.0, 0.0]]])


def test_grad_cam_weighs_channels_by_their_mean_gradient():
    gradients = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[-1.0, -1.0], [1.0, -1.0]]])
    # 1 and -0.5: [[1, -1], [-1, 1]] before the ReLU
    assert grad_cam(A, gradients).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    # [[4, -2], [2, 0]] before the ReLU
    assert hires_cam(A, gradients).tolist() == [[4.0, 0.0], [2.0, 0.0]]
    # the same where the gradient is the same everywhere, as behind a pooled linear head
    even = gradients.mean((1, 2), keepdim=True).expand_as(A)
    assert torch.equal(hires_cam(A, even), grad_cam(A, even))


def test_grad_cam_plus_plus_by_hand():
    gradients = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.5, -1.0], [0.0, 0.0]]])
    # alpha 1 / (2 + 2 * 1) four times; of the second channel's first pixel 1 / (2 + 4 * 0.5)
    expected = 1.0 * A[0] + 0.25 * 0.5 * A[1]
    assert torch.allclose(grad_cam_plus_plus(A, gradients), expected)
    assert not grad_cam_plus_plus(A, torch.zeros_like(A)).any()


@pytest.mark.parametrize('shape', [(3, 6, 5), (40, 4, 3)])
def test_eigen_cam_is_the_first_singular_vector(shape):
    activations = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows = activations.flatten(1).T
    projected = (rows @ torch.linalg.svd(rows)[2][0]).view(shape[1:])
    cam = eigen_cam(activations, activations)
    mean = activations.mean(0)
    sign = torch.corrcoef(torch.stack([projected.flatten(), mean.flatten()]))[0, 1].sign()
    assert torch.allclose(cam, (sign * projected).relu(), atol=1e-4)
    # a map that all channels share comes out as it is
    shared = torch.rand(shape[1:])
    one = eigen_cam(shared * torch.ones(shape), activations)
    assert torch.allclose(one / one.max(), shared / shared.max(), atol=1e-5)
    assert not eigen_cam(torch.zeros(shape), activations).any()


class Tiny(nn.Module):
    """Two channels that pass on the image and its double; the first speaks for class 1."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 2, bias=False)
        self.split = Split()
        self.unused = nn.Identity()
        self.conv.weight.data = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)
        self.fc.weight.data = torch.tensor([[0.0, 3.0], [4.0, 0.0]])

    def forward(self, x):
        first, _, last = self.split(self.act(self.conv(x)))
        return self.fc((first + last).mean((2, 3)))


class Split(nn.Module):
    def forward(self, x):
        return x, 'no map', x * 1


@pytest.mark.parametrize(
    ('name', 'maps'), [('conv', 1), ('act', 1), ('split', 2), ('split[0]', 1), ('split[-1]', 1)]
)
@pytest.mark.parametrize('method', ['grad_cam', 'grad_cam++'])
def test_a_network_by_hand(name, maps, method):
    net = Tiny().requires_grad_(False)
    image = torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]])
    layer = find_layer(net, name)
    with layer.watch() as found:
        logits = net(image)
    # the ReLU that follows the convolution in place does not change what was kept
    first = torch.tensor([[1.0, -1.0], [2.0, 0.0]])
    assert found[0][0, 0].tolist() == (first if name == 'conv' else first.relu()).tolist()
    assert len(found) == maps
    gradients = torch.autograd.grad(logits[0, 1], found)
    cams = [METHODS[method](a[0], g[0]) for a, g in zip(found, gradients, strict=True)]
    for cam in cams:
        assert torch.allclose(cam / cam.max(), first.relu() / 2)
    if method == 'grad_cam' and name.startswith('split'):
        # the mean over four pixels of the gradient 4 / 4
        assert cams[0].tolist() == first.relu().tolist()
    assert not net.split._forward_hooks


def test_unknown_and_useless_layers():
    net = Tiny()
    with pytest.raises(UnknownName, match=r"no layer 'cnv'. Did you mean conv\?"):
        find_layer(net, 'cnv')
    with pytest.raises(UnknownName, match='It has: conv, act, fc'):
        find_layer(net, '')
    for name, what in [
        ('fc', r'puts out \(1, 2\)'),
        ('unused', 'does not run in a prediction'),
        ('split[2]', 'only 2 maps'),
    ]:
        with pytest.raises(UserError, match=what), find_layer(net, name).watch():
            net(torch.zeros(1, 1, 2, 2))


def test_iou_of_known_masks():
    cam = np.array([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 3.0, 4.0]])
    truth = np.zeros((2, 4), bool)
    truth[:, 2:] = True
    assert iou(cam, truth) == 1.0
    assert iou(cam, ~truth) == 0.0
    truth[0, 2] = False
    assert iou(cam, truth) == pytest.approx(3 / 4)
    # of more than half at 0 all that is not 0 is kept; of nothing, nothing
    assert iou(np.array([[0.0, 0.0, 0.0, 0.1]]), np.array([[False, False, False, True]])) == 1.0
    assert iou(np.zeros((1, 4)), np.ones((1, 4), bool)) == 0.0
    assert chance(np.ones((1, 4), bool)) == 0.5


def test_the_interval_is_scipys_bootstrap():
    stats = pytest.importorskip('scipy.stats')
    values = np.random.default_rng(1).beta(2, 3, 60)
    found = bootstrap(values)
    theirs = stats.bootstrap((values,), np.mean, method='percentile').confidence_interval
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    assert bootstrap(values) == found


def test_ground_truth_by_class():
    structures = pytest.importorskip('mmdet.structures')
    from mmengine.structures import InstanceData, PixelData

    sample = structures.DetDataSample()
    assert masks_of(sample, (4, 6)) == {}
    boxes = torch.tensor([[0.0, 0, 2, 1], [3, 2, 6, 4], [1, 0, 3, 1]])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([1, 0, 1]))
    found = masks_of(sample, (4, 6))
    assert found[1].nonzero()[1].tolist() == [0, 1, 2] and found[1].sum() == 3
    assert found[0].sum() == 6 and found[0][2:, 3:].all()
    masks = pytest.importorskip('mmdet.structures.mask').BitmapMasks(np.eye(4, 6)[None], 4, 6)
    sample.gt_instances = InstanceData(bboxes=boxes[:1], labels=torch.tensor([2]), masks=masks)
    assert masks_of(sample, (4, 6))[2].sum() == 4
    sample.gt_sem_seg = PixelData(data=torch.tensor([[[0, 2], [2, 255]]]))
    assert {label: mask.sum() for label, mask in masks_of(sample, (2, 2)).items()} == {
        0: 1,
        2: 2,
        255: 1,
    }


def test_missing_masks_are_named(tmp_path):
    with pytest.raises(UserError, match='a.png does not exist'):
        mask_file(tmp_path, 'images/a.jpg')
    with pytest.raises(UserError, match='have no names'):
        mask_file(tmp_path, None)


def test_detections_of_a_class_and_of_another_model():
    def one(label, score, box):
        return Target(label, score, torch.tensor(score), (box,))

    found = [one(1, 0.9, (0, 0, 4, 4)), one(0, 0.8, (0, 0, 9, 9)), one(1, 0.5, (5, 5, 9, 9))]
    grouped = by_class(found)
    assert [target.label for target in grouped] == [1, 0]
    assert grouped[0].score == 0.9 and grouped[0].value.item() == pytest.approx(1.4)
    assert len(grouped[0].boxes) == 2
    assert at_same_place(one(1, 0.1, (0, 0, 4, 3)), found) is found[0]
    assert at_same_place(one(1, 0.1, (0, 0, 9, 9)), found) is None
    assert at_same_place(one(2, 0.1, (0, 0, 4, 4)), found) is None
