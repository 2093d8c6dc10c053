"""Effective receptive fields: by hand, of every toolbox's models, and the tool."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmattn.analysis import receptive_field as erf
from mmattn.analysis.trained import Described
from mmattn.utils.errors import UnknownName, UserError

TOOLBOXES = ('mmpretrain', 'mmdet', 'mmseg')


def ones(number, **options):
    """A stack of convolutions whose weights are all 1."""
    layers = [nn.Conv2d(3, 3, 3, padding=1, bias=False, **options) for _ in range(number)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return nn.Sequential(*layers).requires_grad_(False)


def images(height, width, number=2):
    return (torch.ones(1, 3, height, width) for _ in range(number))


def test_a_stack_of_convolutions_has_the_coefficients_of_a_polynomial():
    field = erf.receptive_field(ones(4), images(20, 31))
    # (1 + x + x^2)^4
    row = np.array([1, 4, 10, 16, 19, 16, 10, 4, 1])
    expected = np.zeros((20, 31))
    expected[6:15, 11:20] = np.outer(row, row) * 3**5
    np.testing.assert_allclose(field.scores, expected, rtol=1e-6)
    assert field.centre == (10, 15) and field.map_size == (20, 31)
    # side 5 has (10 + 16 + 19 + 16 + 10)^2 of 81^2
    np.testing.assert_allclose(field.held()[:3], np.square([19, 51, 71]) / 81**2)
    sides = {share: field.square(share).side for share in (*erf.SHARES, 1.0)}
    assert sides == {0.2: 3, 0.3: 3, 0.5: 5, 0.99: 9, 1.0: 9}
    assert field.square(0.5).area == pytest.approx(25 / (20 * 31))


def test_negative_gradients_count_nothing():
    net = ones(1)
    net[0].weight[:, :, 0] = -1
    field = erf.receptive_field(net, images(9, 9))
    assert (field.scores[3] == 0).all() and field.scores[4, 4] == 9
    assert field.figures()['contribution']['0.99']['side'] == 3


def test_the_squares_of_a_known_matrix():
    scores = np.ones((10, 12))
    scores[5, 6] = 81.0
    field = erf.Field(scores, (5, 6), (5, 6))
    assert field.square(0.2) == erf.Square(0.2, 1, 1 / 120)
    # 81 + 8 + 16 + 24 = 129 of 200
    assert field.square(0.645).side == 7 and field.square(0.6451).side == 9
    # beyond the border there is nothing: 10 rows, 11 of 12 columns
    assert field.square(0.95) == erf.Square(0.95, 11, 110 / 120)
    assert field.square(1.0) == erf.Square(1.0, 13, 1.0)
    log = field.logarithmic()
    assert log.scores[0, 0] == pytest.approx(math.log10(2))
    assert log.square(0.2).side > 1 and field.figures()['replknet']['0.2']['side'] > 1


def test_the_square_is_where_the_map_has_its_middle():
    # A map of five: its middle sees the pixels 3, 4, 5 of ten.
    field = erf.receptive_field(ones(1, stride=2), images(10, 10))
    assert field.map_size == (5, 5) and field.centre == (4, 4)
    assert field.square(1.0).side == 3


def test_images_are_averaged():
    # Of the second image only the middle one of five columns lets a gradient pass.
    first = torch.ones(1, 3, 5, 5)
    second = torch.where(torch.arange(5) == 2, 1.0, 3.0) * first
    net = nn.Sequential(nn.Hardtanh(-2.0, 2.0), *ones(1))
    row = erf.receptive_field(net, [first, second]).scores[2] / 9
    assert row.tolist() == [0, 0.5, 1, 0.5, 0]


def test_positive_activations_count():
    # What leaves a layer norm adds up to 0, whatever comes in.
    def run(image):
        features = torch.cat((image[:, :1], image[:, 1:2].square(), image[:, 2:].exp()), 1)
        return nn.functional.layer_norm(features.movedim(1, 3), (3,)).movedim(3, 1)

    torch.manual_seed(0)
    scores = erf.receptive_field(run, [torch.rand(1, 3, 5, 5)]).scores
    assert scores[2, 2] > 0.01 and (scores > 0).sum() == 1


@pytest.mark.parametrize(('scale', 'words'), [(0.0, '0 everywhere'), (math.nan, 'not finite')])
def test_a_field_that_is_none_is_refused(scale, words):
    net = ones(1)
    net[0].weight *= scale
    with pytest.raises(UserError, match=f'image 1: .*9 x 9 map is {words}'):
        erf.receptive_field(net, images(9, 9))
    with pytest.raises(UserError, match='no image'):
        erf.receptive_field(net, [])


def opened(name, *options):
    pytest.importorskip(name)
    return Described.of([f'{name}.py', *options]).open('cpu')[0]


@pytest.mark.parametrize('name', TOOLBOXES)
def test_every_toolboxs_backbone(name, tiny_models):
    trained = opened(name, 'model.backbone.attention=None')
    found = erf.receptive_field(
        erf.feature_map_of(trained), erf.inputs(trained, None, 2, (64, 96), 0)
    )
    assert found.map_size == (8, 12)
    # 7 + 2 (max pooling) + 4 * 3 convolutions of 3 x 3, with their strides
    reach = 7 + 2 * 2 + 4 * 2 * 4 + 4 * 2 + 3 * 2 * 8
    assert 32 < found.square(1.0).side <= 2 * reach
    first = erf.feature_map_of(trained, 'backbone[0]')
    same = erf.feature_map_of(trained, 'backbone.layer1')
    fields = [
        erf.receptive_field(run, erf.inputs(trained, None, 2, (64, 96), 0)) for run in (first, same)
    ]
    np.testing.assert_array_equal(fields[0].scores, fields[1].scores)
    assert fields[0].map_size == (16, 24)
    assert fields[0].square(0.99).side < found.square(0.99).side


def test_global_attention_sees_all(tiny_models):
    trained = opened('mmseg', "model.backbone.attention.type='SE'")
    tensors = erf.inputs(trained, None, 1, (96, 96), 0)
    field = erf.receptive_field(erf.feature_map_of(trained), tensors)
    assert (field.scores[0] > 0).any()


def test_a_layer_of_the_neck(tiny_models):
    trained = opened('mmdet')
    tensors = erf.inputs(trained, None, 1, (64, 64), 0)
    field = erf.receptive_field(erf.feature_map_of(trained, 'neck[0]'), tensors)
    assert field.map_size == (16, 16)


def test_layers_that_are_not_there_are_refused(tiny_models):
    trained = opened('mmdet')
    with pytest.raises(UnknownName, match='Did you mean backbone.layer2'):
        erf.feature_map_of(trained, 'backbone.layer3')
    run = erf.feature_map_of(trained, 'bbox_head.retina_cls')
    with pytest.raises(UserError, match='bbox_head.retina_cls'):
        erf.receptive_field(run, erf.inputs(trained, None, 1, (64, 64), 0))


def test_which_images_are_taken(project, tmp_path):
    pytest.importorskip('mmpretrain')
    trained = Described.of(['tiny.py']).open('cpu')[0]
    found, source = erf.images_for(trained, None, 3, 0)
    assert len(found) == 3 and source == "3 of the config's test images"
    found, source = erf.images_for(trained, 'data/tiny/val/b', 8, 0)
    assert {path.parent.name for path in found} == {'b'} and source == '4 images of data/tiny/val/b'
    (tensor, *_) = erf.inputs(trained, found, 4, (40, 48), 0)
    assert tuple(tensor.shape) == (1, 3, 40, 48) and tensor.mean() > 0.5
    assert erf.images_for(trained, 'noise', 3, 0) == (None, '3 images of normal noise')
    (project / 'data').rename(project / 'moved')
    found, source = erf.images_for(trained, None, 3, 0)
    assert found is None and 'noise (data that the config needs is missing)' in source
    with pytest.raises(UserError, match='is missing'):
        erf.images_for(trained, None, 3, 0, required=True)


def test_noise_is_the_same_for_each_model(tiny_models):
    trained = opened('mmseg')
    first, again, other = (
        torch.cat(list(erf.inputs(trained, None, 2, (32, 32), seed))) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std() == pytest.approx(1, abs=0.05)


def test_help_is_immediate_and_imports_nothing(project_root):
    path = project_root / 'tools' / 'analysis_tools' / 'erf.py'
    assert os.access(path, os.X_OK)
    command = [sys.executable, '-S', str(path), '--help']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '--beside' in done.stdout, done.stderr


def test_the_tool(analysis_tool, tiny_models, capsys):
    torch.save(opened('mmseg').model.state_dict(), 'weights.pth')
    words = ['mmseg.py', 'weights.pth', '--beside', 'mmseg.py', 'model.backbone.attention=None']
    words += ['--beside', 'mmdet.py', '--shape', 64, 64, '--number', 2, '--out', 'out/erf.png']
    assert analysis_tool('erf', *words) == 0
    written = json.loads((tiny_models / 'out' / 'erf.json').read_text())
    assert list(written['models']) == ['mmseg', 'mmseg, backbone.attention=None', 'mmdet']
    assert written['shape'] == [64, 64] and 'normal noise' in written['images']
    first, plain, _ = written['models'].values()
    assert first['checkpoint'] == 'weights.pth' and plain['checkpoint'] is None
    assert first['map'] == [8, 8]
    squares = plain['contribution']
    assert list(squares) == ['0.2', '0.3', '0.5', '0.99']
    sides = [square['side'] for square in squares.values()]
    assert sides == sorted(sides) and all(side % 2 for side in sides)
    said = capsys.readouterr()
    assert f'{sides[0]} px' in said.out and 'log (RepLKNet)' in said.out
    assert said.err.count('the weights are random') == 2
    with Image.open('out/erf.png') as picture:
        assert picture.width == 1440  # of a page at 200 pixels an inch


def test_the_tool_on_images_of_cifars_size(analysis_tool, project, capsys):
    pytest.importorskip('mmpretrain')
    words = ['--names', 'tiny', '--layer', 'backbone.layer1', '--out', 'erf.svg', '--number', 3]
    words += ['--data-root', 'data/tiny', '--shape', 32, 32]
    assert analysis_tool('erf', 'tiny.py', *words) == 0
    said = capsys.readouterr().out
    assert "backbone.layer1 at 32 x 32: 3 of the config's test images" in said
    assert '<svg' in (project / 'erf.svg').read_text()


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--names', 'a', 'b'], '--names: 1 different names are needed'),
        (['--out', 'erf.txt'], "--out 'erf.txt' must end in .png"),
        (['--number', '0'], "--number: '0': at least 1"),
        (['--layer', 'backbone.layer9'], "the model has no layer 'backbone.layer9'"),
        (['--beside', 'mmdett.py'], "config 'mmdett.py' does not exist"),
        (['--data-root', 'nowhere'], "--data-root 'nowhere' does not exist"),
        (['nowhere.pth'], "'nowhere.pth' does not exist"),
        (['--device', 'gpu'], "--device 'gpu'"),
    ],
)
def test_wrong_options_are_refused(words, said, analysis_tool, tiny_models, capsys):
    pytest.importorskip('mmseg')
    assert analysis_tool('erf', 'mmseg.py', *words) == 2 and said in capsys.readouterr().err
