"""Maps of real classifiers, detectors and segmenters, and the tool that makes them."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from torch.nn import functional as F

from mmattn.analysis.cam import pictures
from mmattn.analysis.cam.iou import iou
from mmattn.analysis.cam.methods import METHODS
from mmattn.analysis.cam.network import Network
from mmattn.analysis.cam.run import Setting, look, run
from mmattn.analysis.cam.targets import Attached
from mmattn.demo import Demo
from mmattn.demo.tasks import TASKS
from mmattn.engine.config import load_config
from mmattn.utils.errors import UnknownName, UserError

SMALL = [
    'model.backbone.depth=18',
    'model.backbone.base_channels=16',
]
LEVELS = '[16,32,64,128]'
DETECTOR = [*SMALL, f'model.neck.in_channels={LEVELS}', 'model.neck.out_channels=32']
TWO_STAGE = [
    *DETECTOR,
    'model.rpn_head.in_channels=32',
    'model.rpn_head.feat_channels=32',
    'model.roi_head.bbox_roi_extractor.out_channels=32',
    'model.roi_head.bbox_head.in_channels=32',
    'model.roi_head.bbox_head.fc_out_channels=64',
]
ONE_STAGE = [
    *DETECTOR,
    'model.bbox_head.in_channels=32',
    'model.bbox_head.feat_channels=32',
    'model.bbox_head.stacked_convs=1',
]
SEGMENTER = [
    *SMALL,
    f'model.decode_head.in_channels={LEVELS}',
    'model.decode_head.channels=32',
    'model.auxiliary_head=None',
]
CONFIGS = {
    'two_stage': ('faster_rcnn_r50_scsa_bccd', TWO_STAGE),
    'one_stage': ('retinanet_r50_scsa_1x_coco', ONE_STAGE),
    'segmenter': ('upernet_r50_scsa_camvid', SEGMENTER),
}


def save(cfg, path, seed=0):
    """A checkpoint of random weights."""
    init_default_scope(cfg.default_scope)
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return model


@pytest.fixture(scope='module')
def demo_of(tmp_path_factory):
    """Config of a kind on a few generated images, its file, and random weights."""
    made = {}

    def make(kind):
        if kind not in made:
            name, options = CONFIGS[kind]
            folder = tmp_path_factory.mktemp(kind)
            cfg, _ = load_config(name, options)
            cfg.work_dir = str(folder / 'work')
            Demo().prepare(cfg)
            cfg.dump(folder / f'{kind}.py')
            save(cfg, folder / 'random.pth')
            made[kind] = cfg, folder / f'{kind}.py', folder / 'random.pth'
        return made[kind]

    with pytest.MonkeyPatch.context() as patch:
        for name, task in TASKS.items():
            few = dict(train_images=16, batch_size=4, val_images=12, side=80)
            patch.setitem(TASKS, name, replace(task, **few))
        yield make


@pytest.fixture
def classifier(project):
    cfg, _ = load_config('tiny.py')
    save(cfg, 'random.pth', seed=1)
    return cfg


def test_a_classifier_agrees_with_captum(classifier):
    attr = pytest.importorskip('captum.attr')
    network = Network(classifier, 'random.pth')
    record = Path('data/tiny/val/a/0.png')
    view = look({'net': network}, record, Setting(classes=('0', '1')))[0]['net']
    assert (view.picture == cv2.imread('data/tiny/val/a/0.png')[..., ::-1]).all()
    packed = network.pack(record)
    image = network.model.data_preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    )['inputs'].requires_grad_()
    scores = network.model(image).softmax(1)[0].tolist()
    captum = attr.LayerGradCam(network.model, network.model.backbone.layer2)
    for label, one in enumerate(view.explanations):
        theirs = captum.attribute(image, label, relu_attributions=True)
        theirs = F.interpolate(theirs, (32, 32), mode='bilinear')[0, 0].detach().numpy()
        np.testing.assert_allclose(one.cam, theirs, atol=1e-6 * theirs.max())
        assert (one.label, one.score) == (label, pytest.approx(scores[label], abs=1e-6))
    assert all(one.cam.max() > 0 for one in view.explanations)
    # unasked it is the predicted class; the layer has another name
    same = Network(classifier, 'random.pth', 'backbone.layer2')
    (sure,) = look({'net': same}, record, Setting())[0]['net'].explanations
    assert sure.label == int(scores[1] > scores[0])
    np.testing.assert_array_equal(sure.cam, view.explanations[sure.label].cam)


@pytest.mark.parametrize('kind', ['two_stage', 'one_stage'])
def test_a_detector_agrees_with_captum(demo_of, kind):
    attr = pytest.importorskip('captum.attr')
    cfg, _, checkpoint = demo_of(kind)
    network = Network(cfg, str(checkpoint), 'backbone[-1]')
    (record,) = network.trained.test_images(1)
    asked = Setting('grad_cam', score=0.0, per_detection=True, most=3)
    views, outlines = look({'net': network}, record, asked)
    view = views['net']
    assert len(view.explanations) == 3 and all(len(one.boxes) == 1 for one in view.explanations)
    packed = network.pack(record)
    shape = packed['data_samples'].ori_shape
    assert view.picture.shape[:2] == shape == view.explanations[0].cam.shape
    batch = network.model.data_preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    )
    samples = batch['data_samples']

    def score(images):
        with Attached():
            found = network.model(images, samples, mode='predict')[0].pred_instances
        return found.scores.sort(descending=True)[0][1][None]

    layer, images = network.model.backbone.layer4, batch['inputs'].requires_grad_()
    theirs = attr.LayerGradCam(score, layer).attribute(images, relu_attributions=True)
    theirs = F.interpolate(theirs, images.shape[-2:], mode='bilinear')
    height, width = packed['inputs'].shape[-2:]
    theirs = F.interpolate(theirs[..., :height, :width], shape, mode='bilinear')[0, 0].detach()
    cam = view.explanations[1].cam
    np.testing.assert_allclose(cam, theirs.numpy(), atol=1e-5 * max(theirs.max().item(), 1e-9))
    assert view.explanations[1].score == pytest.approx(score(images).item(), abs=1e-6)


def test_a_detector_by_class(demo_of):
    cfg, _, checkpoint = demo_of('two_stage')
    network = Network(cfg, str(checkpoint))
    assert network.names == ['RBC', 'WBC', 'Platelets']
    (record,) = network.trained.test_images(1)
    view = look({'net': network}, record, Setting(score=0.0))[0]['net']
    labels = [one.label for one in view.explanations]
    assert len(set(labels)) == len(labels) >= 1
    scores = [one.score for one in view.explanations]
    assert scores == sorted(scores, reverse=True)
    # nothing is that sure: what is asked for by name is then not found
    sure = Setting(score=1.0, classes=('WBC',))
    (one,) = look({'net': network}, record, sure)[0]['net'].explanations
    assert one.label == 1 and one.score is None and not one.cam.any()


def test_a_segmenter(demo_of):
    cfg, _, checkpoint = demo_of('segmenter')
    network = Network(cfg, str(checkpoint))
    (record,) = network.trained.test_images(1)
    views, outlines = look({'net': network}, record, Setting(most=2))
    shown = views['net'].explanations
    assert 1 <= len(shown) <= 2 and shown[0].score >= shown[-1].score
    assert all(one.cam.shape == views['net'].picture.shape[:2] for one in shown)
    # by hand: the gradient of the class's logits over its pixels
    packed = network.pack(record)
    batch = network.model.data_preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    )
    model, kept = network.model, []
    handle = model.backbone.layer4.register_forward_hook(
        lambda module, inputs, output: kept.append(output.requires_grad_())
    )
    (sample,) = model(**batch, mode='predict')
    handle.remove()
    mask = sample.pred_sem_seg.data[0] == shown[0].label
    assert shown[0].score == pytest.approx(mask.float().mean().item())
    value = (sample.seg_logits.data[shown[0].label] * mask).sum()
    (gradient,) = torch.autograd.grad(value, kept)
    weights = gradient.mean((2, 3), keepdim=True)
    cam = (weights * kept[0]).sum(1, keepdim=True).relu()
    cam = F.interpolate(cam, batch['inputs'].shape[-2:], mode='bilinear')
    height, width = packed['inputs'].shape[-2:]
    cam = F.interpolate(cam[..., :height, :width], shown[0].cam.shape, mode='bilinear')[0, 0]
    np.testing.assert_allclose(shown[0].cam, cam.detach(), atol=1e-5 * cam.max().item())


def test_several_models_are_asked_for_the_same(demo_of):
    cfg, _, checkpoint = demo_of('one_stage')
    networks = {name: Network(cfg, str(checkpoint)) for name in 'ab'}
    (record,) = networks['a'].trained.test_images(1)
    asked = Setting(score=0.0, per_detection=True, method='grad_cam++')
    views, _ = look(networks, record, asked)
    for one, other in zip(views['a'].explanations, views['b'].explanations, strict=True):
        assert (one.label, one.score) == (other.label, other.score)
        np.testing.assert_array_equal(one.cam, other.cam)


def test_wrong_names_and_checkpoints(classifier, demo_of):
    network = Network(classifier, 'random.pth')
    with pytest.raises(UnknownName, match="'c' is none of the classes. They are: 0, 1"):
        network.labels(['c'])
    with pytest.raises(UnknownName, match='Did you mean backbone.layer2'):
        Network(classifier, 'random.pth', 'backbone.layer22')
    with pytest.raises(UserError, match='does not fit'):
        Network(classifier, str(demo_of('two_stage')[2]))


def fit(cfg, steps):
    """The model after a few steps on the config's training data."""
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    here = dict(num_workers=0, persistent_workers=False)
    loader = Runner.build_dataloader(dict(cfg.train_dataloader, **here), seed=0)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=2e-3))
    batches = chain.from_iterable(repeat(loader))
    for _, batch in zip(range(steps), batches, strict=False):
        model.train_step(batch, wrapper)
    return model


def test_masks_are_ground_truth_for_any_image(classifier, monkeypatch):
    monkeypatch.setattr(pictures, 'draw', lambda *_: None)
    crop = dict(type='CenterCrop', crop_size=24)
    classifier.test_dataloader.dataset.pipeline.insert(1, crop)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 12:16] = 1
    Path('masks').mkdir()
    cv2.imwrite('masks/0.png', mask)
    asked = Setting('eigen_cam', ('0', '1'), iou=True, masks=Path('masks'))
    networks = {'net': Network(classifier, 'random.pth')}
    image = Path('data/tiny/val/a/0.png')
    views, ((outline, _),) = look(networks, image, asked)
    # the crop of the image is that of the mask
    assert outline[:, 8:12].all() and outline.sum() == 24 * 4
    report = run(networks, [image], asked, Path('maps'))
    expected = [iou(one.cam, outline) for one in views['net'].explanations]
    assert report.iou['net']['mean'] == pytest.approx(np.mean(expected)) and max(expected) > 0
    assert report.chance == pytest.approx(1 / 7)


def trained_beside_untrained(demo_of, kind, steps, folder, monkeypatch):
    """The IoU of the maps on generated objects, before and after a short training."""
    cfg, _, untrained = demo_of(kind)
    torch.save(dict(state_dict=fit(cfg, steps).state_dict(), meta={}), folder / 'trained.pth')
    networks = {'untrained': Network(cfg, str(untrained))}
    networks['trained'] = Network(cfg, str(folder / 'trained.pth'))
    monkeypatch.setattr(pictures, 'draw', lambda *_: None)
    images = networks['trained'].trained.test_images(12)
    return run(networks, images, Setting(score=0.0, iou=True), folder)


def test_a_trained_segmenter_looks_at_objects(demo_of, tmp_path, monkeypatch):
    report = trained_beside_untrained(demo_of, 'segmenter', 80, tmp_path, monkeypatch)
    print(report.iou, report.chance)  # seen: 0.01 and 0.20, by chance 0.17
    assert report.iou['trained']['low'] > report.iou['untrained']['high'] + 0.05
    assert report.differences['trained'].low > 0.05


@pytest.mark.slow
def test_a_trained_detector_looks_at_objects(demo_of, tmp_path, monkeypatch):
    report = trained_beside_untrained(demo_of, 'two_stage', 60, tmp_path, monkeypatch)
    print(report.iou, report.chance)  # seen: 0.19 and 0.33, by chance 0.11
    assert report.iou['trained']['low'] > report.iou['untrained']['high']
    assert report.differences['trained'].low > 0.05
    # it is not that the untrained one finds nothing
    assert report.iou['untrained']['not_found'] == 0


@pytest.fixture
def tool(analysis_tool):
    return partial(analysis_tool, 'grad_cam')


def test_the_tool_on_images(tool, classifier, capsys):
    words = ['tiny.py', 'random.pth', 'data/tiny/val/a', '--out', 'maps', '--device', 'cpu']
    assert tool(*words) == 0
    assert 'pictures, sheet.png and cam.json: maps' in capsys.readouterr().out
    found = json.loads(Path('maps/cam.json').read_text())
    assert found['setting']['method'] == 'grad_cam' and len(found['images']) == 4
    assert found['networks']['tiny']['layer'] == 'backbone[-1]'
    for entry in found['images']:
        assert cv2.imread(f'maps/{entry["file"]}').ndim == 3
        assert entry['maps'][0]['class'] in ('0', '1', 'a', 'b')
    assert cv2.imread('maps/sheet.png').ndim == 3


def test_help_imports_the_standard_library_only(project_root):
    tool = project_root / 'tools' / 'analysis_tools' / 'grad_cam.py'
    command = [sys.executable, '-S', str(tool), '--help']
    printed = subprocess.run(command, capture_output=True, text=True, env={}).stdout
    for method in METHODS:
        assert method in printed


def test_the_tool_measures_side_by_side(tool, demo_of, tmp_path, capsys):
    _, config, checkpoint = demo_of('two_stage')
    words = [config, checkpoint, '--beside', config, checkpoint, '--iou', '--number', 3]
    assert tool(*words, '--out', tmp_path, '--device', 'cpu') == 0
    printed = capsys.readouterr().out
    assert '95 % intervals by bootstrap' in printed
    found = json.loads((tmp_path / 'cam.json').read_text())
    (first, one), (_, other) = found['iou'].items()
    assert one == other and one['images'] == 3 and one['low'] <= one['mean'] <= one['high']
    (difference,) = found['differences'].values()
    assert difference == dict(mean=0.0, low=0.0, high=0.0)
    each = [
        np.mean([m['iou'] for m in entry['maps'] if m['network'] == first])
        for entry in found['images']
    ]
    assert one['mean'] == pytest.approx(np.mean(each))


def test_number_holds_for_a_folder_too(tool, demo_of, tmp_path):
    _, config, checkpoint = demo_of('segmenter')
    folder, out = tmp_path / 'images', tmp_path / 'out'
    folder.mkdir()
    for name in 'abc':
        cv2.imwrite(str(folder / f'{name}.png'), np.zeros((32, 32, 3), np.uint8))
    words = [config, checkpoint, folder, '--number', 2, '--device', 'cpu']
    assert tool(*words, '--out', out) == 0
    assert len(json.loads((out / 'cam.json').read_text())['images']) == 2


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--iou'], "a classifier's data set has neither boxes nor masks"),
        (['--iou', '--masks', 'nowhere'], "--masks 'nowhere' is no folder"),
        (['--class', 'cat'], "'cat' is none of the classes"),
        (['--layer', 'neck'], 'puts out (1, 128)'),
        (['--beside', 'tinny.py', 'random.pth'], "config 'tinny.py' does not exist"),
    ],
)
def test_what_the_tool_refuses(tool, classifier, capsys, words, message):
    assert tool('tiny.py', 'random.pth', '--device', 'cpu', *words) == 2
    assert message in capsys.readouterr().err
