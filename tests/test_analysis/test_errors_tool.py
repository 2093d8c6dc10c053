"""tools/analysis_tools/errors.py on tiny models, from the config to the pictures."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmattn.engine.config import load_config

CLASSES = ('cell', 'plate', 'tube')
LOADER = """
_base_ = ['{base}.py']
classes = {classes}
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_root='data', metainfo=dict(classes=classes), {files}))
test_evaluator = dict({metric})
test_cfg = dict()
"""
DETECTION = (
    LOADER.format(
        base='mmdet',
        classes=CLASSES[:2],
        files="ann_file='boxes.json', data_prefix=dict(img='images'), test_mode=True",
        metric="type='CocoMetric', ann_file='data/boxes.json'",
    )
    + 'model = dict(test_cfg=dict(nms_pre=200, score_thr=0.0, max_per_img=100))'
)
SEGMENTATION = LOADER.format(
    base='mmseg',
    classes=CLASSES,
    files="data_prefix=dict(img_path='images', seg_map_path='maps'), img_suffix='.png'",
    metric="type='IoUMetric', iou_metrics=['mIoU']",
)


def write_data(root):
    """Four images with bright objects on grey, their boxes and label maps."""
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for folder in ('images', 'maps'):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        image = rng.integers(60, 120, (48, 64, 3), dtype=np.uint8)
        labels = np.zeros((48, 64), np.uint8)
        images.append(dict(id=number + 5, file_name=f'{number}.png', width=64, height=48))
        for category in range(number % 3 + 1):
            x, y, side = int(rng.integers(0, 40)), int(rng.integers(0, 24)), 12 + 6 * category
            image[y : y + side, x : x + side, category % 3] = 220
            labels[y : y + side, x : x + side] = 1 + category % 2
            boxes.append(dict(id=len(boxes) + 1, image_id=number + 5, bbox=[x, y, side, side]))
            boxes[-1].update(category_id=category % 2 + 3, area=side**2, iscrowd=0)
        labels[0, :5] = 255
        cv2.imwrite(str(root / 'images' / f'{number}.png'), image)
        cv2.imwrite(str(root / 'maps' / f'{number}.png'), labels)
    categories = [dict(id=3, name='cell'), dict(id=4, name='plate')]
    content = dict(images=images, annotations=boxes, categories=categories)
    (root / 'boxes.json').write_text(json.dumps(content))
    return len(boxes)


def save_weights(config, path, seed):
    """A checkpoint of random weights whose logits differ."""
    cfg, _ = load_config(config)
    torch.manual_seed(seed)
    with MODELS.switch_scope_and_registry(cfg.default_scope) as registry:
        model = dict(cfg.model)
        if cfg.get('data_preprocessor'):
            model['data_preprocessor'] = cfg.data_preprocessor
        state = registry.build(model).state_dict()
    torch.save(dict(state_dict=state), path)


@pytest.fixture
def errors_of(analysis_tool, capsys):
    """Runs the tool on two checkpoints of a config; what it wrote and what it printed."""

    def run(config, *options):
        for seed, name in enumerate(('model', 'baseline')):
            save_weights(config, f'{name}.pth', seed)
        words = [config, 'model.pth', '--baseline', config, 'baseline.pth', '--out', 'out']
        status = analysis_tool('errors', *words, *options)
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return json.loads(open('out/errors.json').read()), printed.out

    return run


def check_pictures(folder, *names):
    assert {path.name for path in folder.glob('*.png')} == set(names)
    for name in names:
        picture = cv2.imread(str(folder / name))
        assert picture.shape[1] > 600 and picture.std() > 10


def test_a_detector(tiny_models, errors_of):
    pytest.importorskip('mmdet')
    pytest.importorskip('faster_coco_eval')
    number = write_data(tiny_models / 'data')
    (tiny_models / 'detector.py').write_text(DETECTION)
    written, printed = errors_of('detector.py', '--score', 0.005)
    for side in (written, written['baseline']):
        overall = side['tables']['classes'][-1]
        assert (overall['class'], overall['objects']) == ('all', number)
        for name, metric in (('AP', 'mAP'), ('AP50', 'mAP_50'), ('small', 'mAP_s')):
            # The toolbox rounds.
            assert overall[name] == pytest.approx(side['metrics'][f'coco/bbox_{metric}'], abs=6e-4)
        assert overall['large'] is None
        matrix = np.array(side['confusion']['matrix'])
        assert matrix[:2].sum() == number and matrix.shape == (3, 3)
    assert written['images'] == 4 and written['confusion']['labels'][-1] == 'background'
    assert written['tables'] != written['baseline']['tables']
    assert 'Errors by TIDE' in printed and 'localisation' in printed
    assert written['worst'][0]['missed'] > 0
    check_pictures(tiny_models / 'out', 'classes.png', 'confusion.png', 'missed.png', 'tide.png')
    # Without an annotation file for the evaluator the objects are those of the data set.
    (tiny_models / 'voc.py').write_text(
        "_base_ = ['detector.py']\n"
        "test_dataloader = dict(dataset=dict(metainfo=dict(dataset_type='other')))\n"
        "test_evaluator = dict(_delete_=True, type='VOCMetric', metric='mAP')\n"
    )
    from mmattn.analysis.errors.report import content_of
    from mmattn.analysis.errors.run import count_errors

    errors, metrics = count_errors('voc.py', 'model.pth', tiny_models / 'log', score=0.005)
    assert 'pascal_voc/mAP' in metrics
    assert content_of(errors, metrics, errors.tables())['tables'] == written['tables']


def test_a_segmenter(tiny_models, errors_of):
    pytest.importorskip('mmseg')
    write_data(tiny_models / 'data')
    (tiny_models / 'segmenter.py').write_text(SEGMENTATION)
    written, printed = errors_of('segmenter.py')
    for side in (written, written['baseline']):
        mean = side['tables']['classes'][-1]
        # The toolbox rounds.
        assert mean['IoU (%)'] == pytest.approx(side['metrics']['mIoU'], abs=6e-3)
        assert mean['accuracy (%)'] == pytest.approx(side['metrics']['mAcc'], abs=6e-3)
        assert np.sum(side['confusion']['matrix']) == 4 * (48 * 64 - 5)
    assert 'plate as cell' in printed or 'cell as plate' in printed
    check_pictures(tiny_models / 'out', 'classes.png', 'confusion.png', 'wrong_pixels.png')


def test_a_classifier(project, errors_of):
    pytest.importorskip('mmpretrain')
    written, printed = errors_of('tiny.py', '--split', 'val', '--cfg-options', 'launcher=pytorch')
    for side in (written, written['baseline']):
        overall = side['tables']['classes'][-1]
        assert overall['images'] == 8 == np.sum(side['confusion']['matrix'])
        assert overall['accuracy (%)'] == pytest.approx(side['metrics']['accuracy/top1'])
    assert len(written['worst']) == 8 - np.trace(written['confusion']['matrix'])
    assert 'Accuracy of the classes' in printed
    check_pictures(project / 'out', 'classes.png', 'confusion.png', 'surest_mistakes.png')


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--cfg-options', 'test_dataloader=None'], 'no test_dataloader'),
        (['--split', 'val', '--cfg-options', 'val_evaluator=None'], 'no val_evaluator'),
        (['--cfg-options', 'default_scope=mmagic'], 'mmagic'),
        (['--data-root', 'nowhere'], "'nowhere' does not exist"),
        (['--score', '2'], "'2': a number from 0 to 1"),
        (['--split', 'train'], 'invalid choice'),
        (['--by', 'masks'], "for detectors; the config has default_scope='mmpretrain'"),
        (['--baseline-cfg-options', 'a=1'], 'needs --baseline'),
        (['--baseline', 'tiny.py', 'no.pth'], "'no.pth' does not exist"),
    ],
)
def test_wrong_use(project, analysis_tool, capsys, words, message):
    pytest.importorskip('mmpretrain')
    save_weights('tiny.py', 'model.pth', 0)
    assert analysis_tool('errors', 'tiny.py', 'model.pth', '--out', 'out', *words) == 2
    assert message in capsys.readouterr().err


def test_a_baseline_of_other_classes(project):
    pytest.importorskip('mmpretrain')
    from mmattn.analysis.errors.report import report
    from mmattn.utils.errors import UserError

    text = (project / 'tiny.py').read_text()
    (project / 'other.py').write_text(
        text.replace("data_prefix='val'", "data_prefix='val', metainfo=dict(classes=('c', 'd'))")
    )
    save_weights('tiny.py', 'model.pth', 0)
    with pytest.raises(UserError, match='other classes'):
        report('tiny.py', 'model.pth', project / 'out', baseline=('other.py', 'model.pth'))
