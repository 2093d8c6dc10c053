"""Images are scored as the metric of the run would have them."""

import json

import numpy as np
import pytest
import torch

from mmattn.analysis.per_image import score, score_run
from mmattn.analysis.runs import PER_IMAGE_FILE, Run, read_runs
from mmattn.engine.config import load_config
from mmattn.engine.train import train
from mmattn.utils.errors import UserError
from tests.test_analysis.test_errors_tool import DETECTION, SEGMENTATION, save_weights, write_data


@pytest.mark.parametrize(
    ('matrix', 'classes', 'expected'),
    [
        ([[0, 0], [0, 1]], 2, 100),  # a classifier is right
        ([[0, 0], [1, 0]], 2, 0),
        # Pixels: IoU 6 / 8 and 2 / 4; the third class does not occur.
        ([[6, 2, 0], [0, 2, 0], [0, 0, 0]], 3, 100 * (6 / 8 + 2 / 4) / 2),
        # Boxes: two of three objects found, one of them as another class, one detection too many.
        ([[1, 1, 1], [0, 0, 0], [0, 1, 0]], 2, 200 * 1 / (3 + 3)),
        ([[0, 0], [0, 0]], 1, 100),  # no object, nothing found
        ([[0, 0], [1, 0]], 1, 0),  # no object, one found
    ],
)
def test_scores_by_hand(matrix, classes, expected):
    assert score(np.array(matrix), classes) == pytest.approx(expected)


def test_their_mean_is_the_accuracy(project, analysis_tool, capsys):
    for seed, attention in ((0, 'SE'), (0, 'None'), (1, 'None')):
        options = ['train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0.001']
        if attention == 'None':
            options.append('model.backbone.attention=None')
        folder = f'work/{attention}{seed}'
        train('tiny.py', seed=seed, work_dir=folder, cfg_options=options)
    (project / 'work' / 'None1' / 'epoch_1.pth').unlink()
    capsys.readouterr()
    assert analysis_tool('compare_runs', 'work', '--images', '--no-sizes') == 0
    out = capsys.readouterr().out
    assert 'None1: its images are not scored: checkpoint' in out and 'epoch_1.pth' in out
    assert 'Against the baseline, over images' in out
    runs, _ = read_runs(['work'])
    assert [run.per_image is None for run in runs] == [False, True, False]
    for run in (runs[0], runs[2]):
        assert set(run.per_image) == {f'val/{c}/{n}.png' for c in 'ab' for n in range(4)}
        assert np.mean(list(run.per_image.values())) == run.metrics['accuracy/top1']
    # What is scored stays.
    (runs[0].folder / PER_IMAGE_FILE).write_text(json.dumps(dict.fromkeys(runs[0].per_image, 7)))
    assert analysis_tool('compare_runs', 'work', '--images', '--no-sizes') == 0
    assert set(read_runs(['work'])[0][0].per_image.values()) == {7}


@pytest.mark.parametrize(('toolbox', 'text'), [('mmdet', DETECTION), ('mmseg', SEGMENTATION)])
def test_detectors_and_segmenters(toolbox, text, tiny_models):
    pytest.importorskip(toolbox)
    if toolbox == 'mmdet':
        pytest.importorskip('faster_coco_eval')
    write_data(tiny_models / 'data')
    (tiny_models / 'own.py').write_text(text)
    cfg, _ = load_config('own.py')
    for part in ('dataloader', 'evaluator', 'cfg'):
        cfg[f'val_{part}'] = cfg[f'test_{part}']
    cfg.dump('own.py')
    save_weights('own.py', 'model.pth', 0)
    summary = {'config': 'own.py', 'metrics': {}, 'last_checkpoint': '/elsewhere/model.pth'}
    run = Run(tiny_models, 'own', summary)
    score_run(run)
    assert set(run.per_image) == {f'data/images/{n}.png' for n in range(4)}
    assert all(0 <= value <= 100 for value in run.per_image.values())
    if toolbox == 'mmseg':
        # A model that says one class everywhere has its share of the pixels, and no other.
        state = torch.load('model.pth')
        for name, value in state['state_dict'].items():
            if 'conv_seg' in name:
                value.zero_()
        torch.save(state, 'model.pth')
        score_run(run)
        again = Run(tiny_models, 'own', summary).per_image
        import cv2

        for name, value in again.items():
            truth = cv2.imread(name.replace('images', 'maps'), cv2.IMREAD_GRAYSCALE)
            truth = truth[truth != 255]
            assert value == pytest.approx(100 * np.mean(truth == 0) / len(np.unique(truth)))


def test_what_cannot_be_scored_is_said(tmp_path):
    with pytest.raises(UserError, match='it kept no checkpoint'):
        score_run(Run(tmp_path, 'a', {'config': 'a.py', 'metrics': {}}))
    with pytest.raises(UserError, match='it kept no config'):
        score_run(Run(tmp_path, 'a', {'config': 'a.py', 'last_checkpoint': 'x.pth'}))
