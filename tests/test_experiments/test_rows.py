"""experiments.yml: complete, and every row is something that runs."""

import copy
import json
import shlex
from functools import cache

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmattn.__main__ import main
from mmattn.attention import Attention
from mmattn.engine.config import load_config, merge_options, parse_options
from mmattn.experiments import find_experiments, load_tables, speed

ROWS = find_experiments()
# Rows of the papers' tables.
COUNTS = {
    'scsa-1': 15,
    'scsa-2': 28,
    'scsa-3': 36,
    'scsa-4': 48,
    'scsa-5': 14,
    'scsa-6': 8,
    'se-survey': 6,
}


@cache
def shipped(config):
    return load_config(config)[0]


def lacks(cfg, key):
    """Whether a config has no such key, as 'model.backbone.attention.type'."""
    node = cfg._cfg_dict
    for part in key.split('.'):
        if not isinstance(node, dict) or part not in node:
            return True
        node = node[part]
    return False


def test_every_row_of_the_papers_tables_is_there_once():
    tables = load_tables()
    for table, count in COUNTS.items():
        assert len(tables[table]['experiments']) == count, table
    names = [(row.table, row.name) for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: f'{row.table}-{row.name}')
def test_a_row_resolves(row):
    cfg = copy.deepcopy(shipped(row.config))
    # What the config does not have is said, and nothing else.
    new = [key for key in row.overrides if lacks(cfg, key)]
    notes = merge_options(cfg, parse_options(row.cfg_options()))
    assert [note.split(': ')[0] for note in notes] == [f'--cfg-options {key}' for key in new]
    scope = cfg.default_scope
    # A Swin Transformer reads numbers off a tensor while it is built.
    device = 'cpu' if 'Swin' in cfg.model.backbone.type else 'meta'
    with DefaultScope.overwrite_default_scope(scope), torch.device(device):
        backbone = MODELS.build(cfg.model.backbone)
    kinds = {type(m).__name__ for m in backbone.modules() if isinstance(m, Attention)}
    assert (row.attention in kinds) if row.attention else not kinds


def test_some_rows_say_what_is_new():
    """Else the notes of the rows above would be compared with nothing."""
    new = {key for row in ROWS for key in row.overrides if lacks(shipped(row.config), key)}
    assert {f'model.backbone.attention.{name}' for name in ('bias', 'norm', 'scale')} <= new


def test_every_metric_belongs_to_a_column():
    for name, table in load_tables().items():
        assert set(table['columns']) & set(table.get('metrics', {})), name


def test_the_command_line_filters_and_prints_commands(capsys):
    assert main(['experiments', '--table', 'scsa-4', '--commands']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 48
    words = shlex.split(next(line for line in lines if 'r101_fca_1x_visdrone' in line))
    assert words[:3] == [
        'python',
        'tools/train.py',
        'configs/faster_rcnn_r101_scsa_1x_visdrone.py',
    ]
    assert words[-2:] == ['--cfg-options', 'model.backbone.attention.type=FCA']

    assert main(['experiments', '--table', 'scsa-2', '--attention', 'none']) == 0
    out = capsys.readouterr().out
    assert '5 rows' in out and 'top1 76.39' in out and 'attention=None' in out


def test_measured_throughput_stands_beside_the_papers(tmp_path, monkeypatch, capsys):
    plain = dict(
        config='resnet50_scsa_in1k',
        cfg_options=['model.backbone.attention=None'],
        kernels='',
        step='inference',
        layout='NCHW',
        dtype='float32',
        images=[20.0, 19.0, 21.0],
        ratio=[1.0, 1.0, 1.0],
    )
    scsa = dict(cfg_options=['model.backbone.attention.type=SCSA'], kernels='auto')
    rows = [
        {**plain, 'step': 'training', 'images': [1.0] * 3},
        plain,
        {**plain, **scsa, 'kernels': 'pure', 'ratio': [0.5] * 3},
        {**plain, **scsa, 'layout': 'channels_last', 'ratio': [0.6] * 3},
        {**plain, **scsa, 'images': [19.4] * 3, 'ratio': [0.97] * 3},
    ]
    kept = {'networks': {'device': 'a CPU', 'kernels': 'C++', 'rows': rows}}
    (tmp_path / 'speed_cpu.json').write_text(json.dumps(kept))
    (tmp_path / 'speed_gpu.json').write_text(json.dumps({'modules': {}}))
    monkeypatch.setattr(speed, 'RESULTS', tmp_path)
    speed._parts.cache_clear()
    assert main(['experiments', '--table', 'scsa-2', '--config', 'resnet50']) == 0
    out = capsys.readouterr().out
    speed._parts.cache_clear()
    seen = [line for line in out.splitlines() if 'throughput: ' in line]
    assert len(seen) == 11
    paper = 'paper 2433 images/s, 1.00 of the plain network (RTX 4090)'
    where = 'of the plain network (a CPU, float32, kernels C++)'
    assert seen[0] == f'    throughput: measured 20 images/s, 1.00 {where}; {paper}'
    assert f'measured 19.4 images/s, 0.97 {where}; paper 2019 images/s, 0.83 of' in seen[-1]
    assert all('measured -; paper' in line for line in seen[1:-1])


def test_a_wheel_has_no_measurements(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, 'RESULTS', tmp_path / 'nowhere')
    speed._parts.cache_clear()
    (row,) = find_experiments('scsa-1', attention='PCSA')
    assert speed.describe_throughput(row).startswith('throughput: measured -; paper 2217')
    speed._parts.cache_clear()
    assert speed.describe_throughput(find_experiments('scsa-3')[0]) is None


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--table', 'scsa-9'], 'valid: scsa-1, scsa-2'),
        (['--table', 'scsa-2', '--attention', 'SMSA'], 'no row'),
    ],
)
def test_a_wrong_filter_is_named(words, message, capsys):
    assert main(['experiments', *words]) == 2
    assert message in capsys.readouterr().err
