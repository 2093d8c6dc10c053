"""Counts of parameters and multiply-adds, and the papers' tables."""

import csv
import io
import runpy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmattn.analysis import Complexity, measure, tables
from mmattn.analysis.operators import count
from mmattn.attention import SCSA, SE
from mmattn.backbones import ResNet
from mmattn.engine.config import load_config
from mmattn.experiments import find_experiments
from mmattn.utils.errors import UserError


def test_layers_are_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Sigmoid())
    _, counter = count(net, torch.zeros(1, 3, 10, 20))
    assert counter.flops == 10 * 20 * 8 * 27
    assert counter.left_out == {'sigmoid': 10 * 20 * 8}


def test_attention_products_are_left_out_by_mmengine_but_counted():
    class Fused(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x[..., :1])

    _, counter = count(Fused(), torch.zeros(2, 64, 4))
    assert counter.left_out['attention products'] == 2 * 64 * 64 * (4 + 1)
    assert counter.flops == 0
    _, counter = count(SE(64), torch.zeros(1, 64, 14, 14))
    assert counter.flops == 2 * 64 * 4
    assert counter.left_out['mean'] == counter.left_out['mul'] == 64 * 14 * 14


def test_what_the_kernels_do_is_counted():
    # q k^T with four windows, then the product with one mean value
    products = 64 * 64 * (4 + 1)
    _, counter = count(SCSA(64), torch.zeros(1, 64, 14, 14))
    convolved = 64 * (14 + 14 + 4) * 9  # both directions at once, a gap of four between them
    norms = 5 * 64 * (14 + 14 + 4)
    assert counter.flops == products + convolved + norms


def mmengines_count(model, image):
    from mmengine.analysis import FlopAnalyzer

    counter = FlopAnalyzer(model, image).unsupported_ops_warnings(False)
    return counter.uncalled_modules_warnings(False).tracer_warnings('none').total()


@pytest.mark.parametrize('attention', ['SCSA', 'CBAM', 'EMA', 'CPCA', 'FCA', None])
def test_it_counts_as_mmengine_does(attention):
    model = ResNet(18, attention=attention and dict(type=attention)).eval()
    image = torch.zeros(1, 3, 64, 96)
    theirs = mmengines_count(model, image)
    on_cpu = count(model, image)[1]
    on_meta = count(model.to('meta'), image.to('meta'))[1]
    assert on_cpu.flops == pytest.approx(theirs, rel=1e-3)
    assert on_meta == on_cpu


@pytest.mark.parametrize(
    'layer',
    [
        nn.ConvTranspose2d(16, 8, 4, stride=2, groups=4),
        nn.Conv2d(16, 32, 3, dilation=2, groups=8),
        nn.Linear(20, 5),
        nn.Sequential(nn.BatchNorm2d(16), nn.GroupNorm(4, 16), nn.LayerNorm(20)),
        nn.Sequential(nn.Upsample(scale_factor=2, mode='bilinear'), nn.AdaptiveAvgPool2d(3)),
        nn.Upsample(scale_factor=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_are_counted_as_by_mmengine(layer):
    # With it, torch knows how to take more operators apart.
    import torch._decomp  # noqa: F401

    image = torch.zeros(1, 16, 12, 20)
    theirs = mmengines_count(layer.eval(), image)
    assert count(layer, image)[1].flops == theirs > 0
    assert count(layer.to('meta'), image.to('meta'))[1].flops == theirs


def test_a_classifier_at_its_size():
    cfg, _ = load_config('resnet50_scsa_in1k', ['model.backbone.attention=None'])
    measured = measure(cfg)
    assert measured.size == (224, 224)
    assert measured.params == 25557032 and measured.attention_params == 0
    assert measured.flops / 1e9 == pytest.approx(4.12, abs=0.01)
    assert set(measured.parts) == {'backbone', 'neck', 'head'}
    half = measure(cfg, (112, 112))
    assert 3.7 < measured.parts['backbone'][1] / half.parts['backbone'][1] < 4.1


def test_a_detector_counts_its_heads_on_all_regions():
    cfg, _ = load_config('faster_rcnn_r50_scsa_1x_coco')
    measured = measure(cfg)
    assert list(measured.parts) == ['backbone', 'neck', 'rpn_head', 'bbox_head']
    first, second = 256 * 49 * 1024, 1024 * 1024
    assert measured.parts['bbox_head'][1] == 1000 * (first + second + 1024 * (81 + 320))
    assert measured.attention_params > 0
    assert measured.params / 1e6 == pytest.approx(41.81, abs=0.01)


def test_an_auxiliary_head_is_counted_apart():
    cfg, _ = load_config('upernet_r50_scsa_80k_ade20k')
    measured = measure(cfg, (64, 96))
    assert measured.params / 1e6 == pytest.approx(64.16, abs=0.01)
    assert measured.auxiliary_params / 1e6 == pytest.approx(2.4, abs=0.05)


NEW_STYLE = """
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead
from mmattn.backbones import ResNet
default_scope = 'mmpretrain'
model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet, depth=18, norm_cfg=dict(type='MMSyncBN')),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=512),
)
"""


def test_sync_bn_counts_as_bn_in_a_config_with_classes(tmp_path):
    (tmp_path / 'new_style.py').write_text(NEW_STYLE)
    cfg, _ = load_config(str(tmp_path / 'new_style.py'))
    measured = measure(cfg, (64, 64))
    assert cfg.model.backbone.norm_cfg.type == 'MMSyncBN'
    cfg.model.backbone.norm_cfg.type = 'BN'
    assert measured == measure(cfg, (64, 64)) and measured.params == 11181642


def test_another_scope_is_refused():
    cfg, _ = load_config('resnet50_scsa_in1k', ['default_scope=mmagic'])
    with pytest.raises(UserError, match="'mmagic'.*valid: mmpretrain, mmdet, mmseg"):
        measure(cfg)


# What remains when the paper's own figure and ours differ, in millions of parameters.
TOLERANCES = {'scsa-2': 0.02, 'scsa-3': 0.1, 'scsa-5': 0.1}


@pytest.mark.slow
@pytest.mark.parametrize('table', TOLERANCES)
def test_the_papers_parameters_are_reproduced(table):
    for row, measured in tables.measure_table(table):
        difference = measured.params / 1e6 - row.paper['params']
        assert abs(difference) < TOLERANCES[table] + 1e-9 or row.note, (row.name, difference)


@pytest.mark.parametrize('form', ['text', 'markdown'])
def test_what_sets_a_table_apart_is_explained(form):
    def notes(table):
        row = find_experiments(table)[0]
        return tables.render([(row, Complexity((1, 1)))], form).split('\n- ')[1:]

    assert 'twice the multiply-adds' in notes('scsa-5')[0] and '800 x 1280' in notes('scsa-3')[0]
    assert len(notes('scsa-6')) == 1


def test_formats(capsys):
    rows = tables.measure_table('scsa-2', track=lambda rows: rows[-2:])
    text = tables.render(rows, 'text')
    assert 'swin_t_none_in1k' in text and '28.29' in text
    assert 'elementwise' in text
    (header, first, *_) = csv.reader(io.StringIO(tables.render(rows, 'csv')))
    assert header[:4] == ['row', 'params (M)', 'paper (M)', 'diff (M)']
    assert float(first[1]) == pytest.approx(28.29, abs=0.02)
    markdown = tables.render(rows, 'markdown').splitlines()
    assert markdown[1].startswith('| --- | ---: |') and markdown[2].count('|') == len(header) + 1


@pytest.fixture
def tool(project_root, monkeypatch):
    """Runs tools/analysis_tools/complexity.py in this process."""
    script = project_root / 'tools' / 'analysis_tools' / 'complexity.py'
    monkeypatch.setattr(sys, 'path', [*sys.path])

    def call(*words):
        monkeypatch.setattr(sys, 'argv', [str(script), *words])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name='__main__')
        return end.value.code

    return call


def test_the_tool(tool, tmp_path, capsys):
    out = tmp_path / 'new' / 'table.md'
    words = ['resnet50_scsa_in1k', '--shape', '64', '64', '--format', 'markdown']
    assert tool(*words, '--out', str(out)) == 0
    assert '| all, 64 x 64 | 25.617 |' in out.read_text()
    assert capsys.readouterr().out == f'written: {out}\n'
    assert tool(*words) == 0
    assert capsys.readouterr().out == out.read_text()


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ([], 'either a config or --table'),
        (['resnet50_scsa_in1k', '--table', 'scsa-2'], 'either a config or --table'),
        (['--table', 'scsa-2', '--shape', '64', '64'], 'no --shape'),
        (['--table', 'scsa-8'], 'valid: scsa-1'),
        (['resnet50_scsa', '--shape', '64', '64'], 'Did you mean'),
        (['resnet50_scsa_in1k', '--shape', '0', '64'], "--shape: '0': at least 1"),
    ],
)
def test_wrong_options_are_refused(words, said, tool, capsys):
    assert tool(*words) == 2 and said in capsys.readouterr().err
