"""Costs of attentions in a config, their ranks, and what is known of them."""

import csv
import io

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from mmattn.__main__ import main
from mmattn.analysis import advise, evidence, throughput
from mmattn.analysis.advise import Cost, ranked, sections, share
from mmattn.analysis.throughput import Timing
from mmattn.attention import ECA, SE
from mmattn.utils.errors import InvalidValue, UserError
from tests.test_analysis.fabricated_runs import PLAIN, write_group

STOCK = Config(
    dict(
        default_scope='mmpretrain',
        model=dict(
            type='ImageClassifier',
            data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3, num_classes=2),
            backbone=dict(type='MobileNetV3', arch='small_050'),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=2, in_channels=288, topk=(1,)),
        ),
    )
)


def cost(name, slower=0.0, params=0.0, flops=0.0, saved=0.0, spread=0.0) -> Cost:
    speed = Timing(1 - slower, 1 - slower - spread, 1 - slower + spread)
    return Cost(name, 1, 1, 1, params, flops, saved, speed)


def test_ranks_are_means_of_places_and_ties_share_theirs():
    a = cost('A', slower=0.1, params=0.0, flops=0.3, saved=0.1)
    b = cost('B', slower=0.2, params=0.0, flops=0.1, saved=0.3)
    c = cost('C', slower=0.3, params=0.1, flops=0.2, saved=0.2)
    # A: 1, 1.5, 3, 1; B: 2, 1.5, 1, 3; C: 3, 3, 2, 2
    assert [(rank, one.name) for rank, one in ranked([c, b, a])] == [
        (6.5 / 4, 'A'),
        (7.5 / 4, 'B'),
        (10 / 4, 'C'),
    ]


def test_the_budget_leaves_out_and_says_why():
    costs = [
        cost('Slow', slower=0.05),
        cost('Large', params=0.03, flops=0.5),
        cost('Memory', saved=9.0),
        cost('Faster', slower=-0.5),
    ]
    ranking, left = sections(costs, {'SA': 'in_channels=8'}, 0.02, [])
    assert {row['attention'] for row in ranking.rows} == {'Memory', 'Faster'}
    assert left.title == 'Left out: 2 beyond the budget, 1 refused'
    reasons = {row['attention']: row['left out'] for row in left.rows}
    assert reasons['Slow'] == 'beyond the budget: +5.0% slower'
    assert reasons['Large'] == 'beyond the budget: +3.0% parameters, +50.0% multiply-adds'
    assert 'in_channels=8' in reasons['SA']
    assert len(sections(costs, {}, None, [])) == 1
    assert len(sections(costs, {}, 0.5, [])) == 1


def test_shares():
    assert share('2%') == share('0.02') == 0.02
    assert share('150%') == 1.5
    for wrong in ('2', 'two', '-1%', '%'):
        with pytest.raises(InvalidValue, match='2% or 0.02'):
            share(wrong)


def test_a_stock_network_is_measured_with_attention_in_it(monkeypatch):
    """Parameters that can be recomputed; a typo and a channel count are named."""
    monkeypatch.setattr(advise, 'SECONDS', 0.1)
    setting = advise.default_setting(STOCK, size=(32, 32), device='cpu')
    costs, parts = advise.advise(STOCK, ['SE', 'ECA', 'SA', 'ECA'], setting=setting)
    assert [one.name for one in costs] == ['SE', 'ECA']
    cfg = advise.with_place(STOCK)
    assert cfg.model.backbone.type == 'mmattn.AnyBackbone'
    network = MODELS.build(dict(cfg.model.backbone, _scope_='mmpretrain'))
    added = [one for one in network.modules() if type(one) is SE]
    expected = sum(p.numel() for one in added for p in one.parameters())
    assert costs[0].added_params == expected > 0
    stock = sum(
        p.numel() for p in MODELS.build(dict(STOCK.model, _scope_='mmpretrain')).parameters()
    )
    assert costs[0].params == pytest.approx(expected / stock)
    kernels = [ECA(one.in_channels).conv.weight.numel() for one in added]
    assert costs[1].added_params == sum(kernels)
    assert costs[0].added_saved > 0 and costs[0].added_flops > 0
    text = advise.render(parts, 'text')
    assert 'SA: in_channels=' in text and '1 refused' in text and 'no table of a paper' in text
    assert '32 x 32' in text
    assert STOCK.model.backbone.type == 'MobileNetV3', 'the config was changed'


def test_places_of_the_config_are_kept_and_lists_refused():
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                backbone=dict(
                    type='mmattn.ResNet',
                    depth=18,
                    attention=dict(type='SCSA', window_size=5, position='after_conv1'),
                )
            ),
        )
    )
    made = advise.with_place(cfg).model.backbone
    assert made.type == 'mmattn.ResNet'
    assert made.attention == dict(type='SE', position='after_conv1')
    cfg.model.backbone.attention = [dict(type='SE'), dict(type='CA')]
    with pytest.raises(UserError, match='list of 2 attentions'):
        advise.with_place(cfg)
    with pytest.raises(UserError, match=r'no model\.backbone'):
        advise.with_place(Config(dict(default_scope='mmdet', model=dict(type='X'))))


def test_papers_figures_are_those_of_the_task_and_network():
    backbone = dict(type='mmattn.ResNet', depth=101)
    cfg = Config(dict(default_scope='mmseg', model=dict(backbone=backbone)))
    section = evidence.published(cfg, evidence.task_of(cfg), ['SCSA', 'GAM'])
    plain, scsa = section.rows
    ((column, figure),) = [item for item in scsa.items() if item[0] != 'attention']
    assert column == 'scsa-5 upernet_r101_scsa_80k_ade20k mIoU'
    difference = float(figure.split()[0]) - float(plain[column])
    assert figure.endswith(f'({difference:+.2f})')
    assert any('no figures here of 1: GAM' in note for note in section.notes)
    cfg.model.backbone = dict(type='CSPNeXt')
    assert not evidence.published(cfg, 'segmentation', ['SCSA']).rows


def test_every_table_has_a_task():
    for name, table in evidence.load_tables().items():
        assert table['task'] in evidence.TASKS, name


def test_runs_are_shown_where_their_logs_are(tmp_path):
    assert evidence.kept_runs('classification', ['SE'], tmp_path / 'none') is None
    write_group(tmp_path / 'se', [75.0, 77.0])
    write_group(tmp_path / 'none', [74.0, 74.0, 75.5], config=PLAIN)
    section = evidence.kept_runs('classification', ['SE'], tmp_path)
    cells = {row.pop('attention'): next(iter(row.values())) for row in section.rows}
    assert cells == {'none': '74.50 (3 runs)', 'SE': '76.00 (2 runs)'}
    assert evidence.kept_runs('detection', ['SE'], tmp_path) is None
    assert 'SE' not in [
        row['attention'] for row in evidence.kept_runs('classification', ['ECA'], tmp_path).rows
    ]


def test_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(advise, 'SECONDS', 0.1)
    # It would hold for the whole process.
    monkeypatch.setattr(throughput, 'steady_allocator', lambda: True)
    path = tmp_path / 'costs.png'
    words = ['advise', 'resnet56_cifar10', '--attention', 'SE', 'SimAM', '--batch-size', '1']
    words += ['--cfg-options', 'model.backbone.depth=20', '--device', 'cpu']
    assert main([*words, '--format', 'csv', '--plot', str(path)]) == 0
    rows = {row['attention']: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert float(rows['SimAM']['params (+k)']) == 0 < float(rows['SE']['params (+k)'])
    assert rows['none']['res2net-1 resnet56_cifar10 error'] == '5.82'
    assert path.stat().st_size > 1000
    assert main(['advise', 'resnet65_cifar10']) == 2
    assert 'Did you mean resnet56_cifar10' in capsys.readouterr().err
    assert main([*words[:2], '--attention', 'SCAS']) == 2
    assert 'did you mean SCSA' in capsys.readouterr().err
    assert main([*words[:2], '--task', 'driving']) == 2
    assert 'instance segmentation' in capsys.readouterr().err
