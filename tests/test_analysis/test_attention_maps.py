"""What attentions let pass: by hand, in every toolbox's models, and the tool."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmattn.analysis import attention_maps as maps
from mmattn.analysis import attention_pictures as pictures
from mmattn.analysis.attention_maps import Passed
from mmattn.analysis.trained import Described
from mmattn.attention import CA, SCSA, SE
from mmattn.utils.errors import UnknownName, UserError


def passed(x, y):
    return Passed.of('slot', 'SE', x, y)


def test_gates_are_found_again():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 3, 5)
    for axis, name in ((1, 'channels'), (2, 'rows'), (3, 'columns')):
        gate = torch.rand(x.shape[axis])
        shape = [-1 if place == axis else 1 for place in range(4)]
        found = passed(x, x * gate.view(shape))
        np.testing.assert_allclose(getattr(found, name), gate, rtol=1e-6)
    plane = torch.rand(3, 5)
    found = passed(x, -x * plane)
    np.testing.assert_allclose(found.positions, plane, rtol=1e-6)
    np.testing.assert_allclose(found.relative(), plane / plane.mean(), rtol=1e-5)
    assert found.maps == 1


def test_shares_are_sums_over_sums():
    x = torch.tensor([[1.0, 3.0], [0.0, 0.0]]).view(1, 2, 1, 2)
    y = torch.tensor([[2.0, -1.0], [0.0, 1.0]]).view(1, 2, 1, 2)
    found = passed(x, y)
    assert found.total == 4 / 4 and found.rows.tolist() == [1]
    assert found.channels[0] == 3 / 4 and np.isnan(found.channels[1])
    assert found.positions.tolist() == [[2, 2 / 3]] and found.columns.tolist() == [2, 2 / 3]
    figures = found.figures()
    assert figures['channels'] == [0.75, None] and figures['shape'] == [2, 1, 2]
    assert figures['positions'] == [[2, 0.6667]]
    assert found.row()['share'] == '1' and found.row()['channels 5-95%'] == '0.75 - 0.75'


def test_an_attentions_own_gates_are_recorded():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 16, 1), SE(16)).eval(), torch.randn(1, 3, 8, 8)
    (found,) = maps.record(lambda: net(x), maps.attentions(net))
    with torch.no_grad():
        gates = net[1].gates(net[0](x))['channels']
    np.testing.assert_allclose(found.channels, gates.flatten(), rtol=1e-5)
    assert (found.slot, found.kind) == ('1', 'SE')
    assert not net[1]._forward_hooks


def test_padding_is_left_out():
    x = torch.ones(1, 16, 8, 8)
    net = nn.Sequential(CA(16)).eval()
    (found,) = maps.record(lambda: net(x), maps.attentions(net), inside=(0.5, 0.7))
    assert found.positions.shape == (4, 6) and len(found.rows) == 4 and len(found.columns) == 6
    # regions are no images
    (found,) = maps.record(lambda: net(x.repeat(3, 1, 1, 1)), maps.attentions(net), (0.5, 0.7))
    assert found.positions.shape == (8, 8) and found.maps == 3


def test_what_cannot_be_shown_is_said():
    net = nn.Sequential(SE(16)).eval()
    slots = maps.attentions(net)
    with pytest.raises(UserError, match='no attention of 0 runs'):
        maps.record(lambda: None, slots)
    with pytest.raises(UserError, match='0: the features are not finite'):
        maps.record(lambda: net(torch.full((1, 16, 2, 2), torch.inf)), slots)


def test_nothing_that_comes_in_has_no_share(tmp_path, recwarn):
    found = [passed(torch.zeros(1, 4, 3, 5), torch.zeros(1, 4, 3, 5))]
    assert np.isnan(found[0].relative()).all() and found[0].figures()['total'] is None
    assert found[0].row()['positions 5-95%'] == '-'
    assert len(list(pictures.draw(tmp_path, np.zeros((6, 10, 3), np.uint8), found))) == 2
    assert not recwarn.list


def test_a_module_that_runs_twice_has_two_slots():
    one = SE(16)
    net = nn.Sequential(one, nn.ReLU(), one, CA(16)).eval()
    found = maps.record(lambda: net(torch.randn(1, 16, 4, 4)), maps.attentions(net))
    assert [each.slot for each in found] == ['0', '0 (2)', '3']


def test_slots_are_chosen_by_names_and_patterns():
    net = nn.ModuleDict({'a': nn.ModuleDict({'b': SCSA(16), 'c': SE(16)}), 'd': CA(16)})
    slots = maps.attentions(net)
    # not the halves of SCSA
    assert list(slots) == ['a.b', 'a.c', 'd']
    assert list(maps.choose(slots, [])) == list(slots)
    assert list(maps.choose(slots, ['d', 'a.*'])) == list(slots)
    assert list(maps.choose(slots, ['a.c'])) == ['a.c']
    with pytest.raises(UnknownName, match=r"--slot 'a.e'.*Did you mean"):
        maps.choose(slots, ['d', 'a.e'])
    with pytest.raises(UnknownName, match=r'There are: a.b, a.c, d'):
        maps.choose(slots, ['zzzz'])
    with pytest.raises(UserError, match='no attention .its backbone is torch.nn'):
        maps.attentions(nn.Sequential(nn.ReLU()))


def slot(name, kind='SE', **shape):
    x = torch.rand(1, 4, 6, 8)
    return Passed.of(name, kind, x, x * torch.rand(6, 1))


def test_what_names_share_is_said_once():
    names = [f'backbone.layer{i}.0.attn' for i in (1, 2)]
    assert pictures.titles([slot(name) for name in names]) == (
        'SE at backbone.*.0.attn',
        ['layer1', 'layer2'],
    )
    title, short = pictures.titles([slot('a.b.attn'), slot('a.c', 'CA')])
    assert title == 'SE, CA at a.*' and short == ['SE: b.attn', 'CA: c']
    assert pictures.titles([slot('a.b')]) == ('SE', ['a.b'])


def test_each_image_has_its_folder():
    images = [Path('a/x.png'), Path('b/x_1.png'), Path('b/x.jpg'), Path('b/y.png')]
    assert list(pictures.folders(images).values()) == ['x', 'x_1', 'x_2', 'y']


def opened(name, *options):
    pytest.importorskip(name)
    return Described.of([f'{name}.py', *options]).open('cpu')[0]


@pytest.mark.parametrize(
    ('name', 'others', 'size'),
    [('mmpretrain', 0, (32, 32)), ('mmdet', 2, (48, 64)), ('mmseg', 0, (48, 64))],
)
def test_every_toolboxs_attentions(name, others, size, tiny_models):
    trained = opened(name)
    slots = maps.attentions(trained.model)
    picture, found = maps.on_image(trained, tiny_models / 'half.png', slots)
    assert picture.shape == (*size, 3)
    assert [one.slot for one in found] == list(slots) and len(found) == 4 + others
    # a quarter and an eighth of the image, without its padding
    assert found[0].positions.shape == (size[0] // 4, size[1] // 4)
    assert found[2].positions.shape == (size[0] // 8, size[1] // 8)
    assert {one.kind for one in found[4:]} <= {'CA'}
    assert all(0 < one.total < 1 for one in found)


def test_an_identity_lets_all_pass_and_is_drawn(tiny_models):
    trained = opened('mmseg', 'model.backbone.attention.warm_start=True')
    slots = maps.attentions(trained.model)
    picture, found = maps.on_image(trained, tiny_models / 'red.png', slots)
    for one in found:
        assert one.total == 1 and (one.positions == 1).all() and (one.channels == 1).all()
    written = list(pictures.draw(tiny_models / 'out', picture, found))
    assert len(written) == 5 and all(path.is_file() for path in written)


def test_a_sheet_has_the_colours_of_the_maps(tmp_path):
    values = np.full((6, 8), 1.0)
    values[:, :4], values[:, 4:] = 0.5, 1.5
    picture = np.full((60, 80, 3), 128, np.uint8)
    pictures.draw_sheet(tmp_path / 'sheet.png', picture, {'map': values}, 'title')
    with Image.open(tmp_path / 'sheet.png') as drawn:
        pixels = np.array(drawn.convert('RGB')).astype(int)
    assert pixels.shape[1] == 1440
    # blue is held back, red is emphasised
    row = pixels[pixels.shape[0] // 3]
    left, right = row[720 + 200], row[720 + 520]
    assert left[2] > 1.5 * left[0] and right[0] > 1.5 * right[2]


def test_regions_are_drawn_without_the_image(tmp_path):
    x = torch.rand(5, 4, 7, 7)
    found = [Passed.of('roi_head.attn', 'SE', x, x * 0.5)]
    written = list(pictures.draw(tmp_path, np.zeros((10, 10, 3), np.uint8), found))
    assert [path.name for path in written] == ['roi_head.attn.png']


def test_help_is_immediate_and_imports_nothing(project_root):
    path = project_root / 'tools' / 'analysis_tools' / 'attention_maps.py'
    assert os.access(path, os.X_OK)
    command = [sys.executable, '-S', str(path), '--help']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and '--slot' in done.stdout, done.stderr


def test_the_tool(analysis_tool, tiny_models, capsys):
    torch.save(opened('mmdet').model.state_dict(), 'weights.pth')
    words = ['mmdet.py', 'weights.pth', 'red.png', 'half.png', '--out', 'out']
    chosen = ['neck.levels.0.attn_after_neck', 'backbone.layer2.*']
    assert analysis_tool('attention_maps', *words, '--slot', *chosen) == 0
    out = tiny_models / 'out'
    slots = [f'backbone.layer2.{block}.attn_after_conv2' for block in (0, 1)] + chosen[:1]
    for folder in ('red', 'half'):
        names = {path.name for path in (out / folder).iterdir()}
        assert names == {'slots.png', *(f'{name}.png' for name in slots)}
    written = json.loads((out / 'attention_maps.json').read_text())
    assert written['checkpoint'] == 'weights.pth' and list(written['images']) == ['red', 'half']
    half = written['images']['half']
    assert half['size'] == [48, 64] and list(half['slots']) == slots
    first = half['slots'][slots[0]]
    assert first['kind'] == 'SCSA' and first['shape'] == [16, 6, 8] and len(first['rows']) == 6
    said = capsys.readouterr().out
    assert 'half.png: shares that pass' in said and f'{first["total"]:.4g}' in said


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['nowhere.pth', 'red.png'], "'nowhere.pth' does not exist"),
        (['weights.pth', 'blue.png'], "image 'blue.png' does not exist"),
        (['weights.pth', 'red.png', '--slot', 'backbone'], "--slot 'backbone'"),
        (['weights.pth', 'red.png', '--device', 'gpu'], "--device 'gpu'"),
        (['plain.pth', 'red.png', '--cfg-options', 'model.backbone.attention=None'], 'no attent'),
        (['plain.pth', 'red.png'], 'plain.pth does not fit the config'),
        (['weights.pth'], 'IMAGE'),
    ],
)
def test_wrong_options_are_refused(words, said, analysis_tool, tiny_models, capsys):
    torch.save(opened('mmseg').model.state_dict(), 'weights.pth')
    torch.save(opened('mmseg', 'model.backbone.attention=None').model.state_dict(), 'plain.pth')
    assert analysis_tool('attention_maps', 'mmseg.py', *words) == 2
    assert said in capsys.readouterr().err
