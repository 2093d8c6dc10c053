"""benchmarks/speed.py measures every part, and keeps table, figures and picture."""

import importlib
import json
import sys

import cv2
import pytest
import torch

from mmattn.attention.names import attention_names
from mmattn.engine.prepare import prepare
from mmattn.registry import MODELS

SHAPES = ['2 x 64 x 14 x 14', '2 x 128 x 7 x 7']


@pytest.fixture
def speed(project_root, monkeypatch):
    if not (project_root / 'benchmarks').is_dir():
        pytest.skip('benchmarks/ is not part of the wheel')
    monkeypatch.syspath_prepend(str(project_root / 'benchmarks'))
    module = importlib.import_module('speed')
    # It would hold for the whole process.
    monkeypatch.setattr(module, 'steady_allocator', lambda: True)
    yield module
    for name in [n for n in sys.modules if n.partition('.')[0] in ('speed', 'literal')]:
        del sys.modules[name]


@pytest.fixture
def command(speed, monkeypatch, tmp_path):
    def call(*words):
        words = ['speed.py', '--quick', '--device', 'cpu', '--out', str(tmp_path), *words]
        monkeypatch.setattr(sys, 'argv', words)
        speed.main()
        return json.loads((tmp_path / 'speed_quick.json').read_text())

    return call


def test_all_parts(command, tmp_path, capsys):
    parts = command('--parts', 'modules', 'networks', '--attention', 'SE')
    for row in parts['modules']['rows']:
        seconds = row['seconds']
        assert set(seconds) == {'auto', 'pure', 'literal', 'bound'}
        assert all(0 < low <= median <= high for median, low, high in seconds.values())
    kinds = [(tuple(r['shape']), r['layout'], r['step']) for r in parts['modules']['rows']]
    assert len(set(kinds)) == len(kinds) == 8
    rows = parts['networks']['rows']
    # Inference and training in two layouts: the plain network, and SE with both kernels.
    assert [r['attention'] for r in rows] == ['plain', 'SE', 'SE'] * 4
    assert {r['kernels'] for r in rows} == {'', 'auto', 'pure'}
    assert all(r['ratio'][0] == 1 for r in rows if r['attention'] == 'plain')
    assert rows[1]['cfg_options'] == ['model.backbone.attention.type=SE']
    assert (rows[3]['saved'] is None, rows[3]['step']) == (False, 'training')

    # What is measured later joins what is there.
    again = command('--parts', 'detector', '--attention', 'SE')
    assert again['modules'] == parts['modules'] and len(again['detector']['rows']) == 3
    assert again['detector']['command'].endswith('--parts detector --attention SE')
    text = (tmp_path / 'speed_quick.md').read_text()
    for line in ('## Modules', '## Networks', '## Detector', '### Training, channels_last'):
        assert f'{line}\n' in text
    assert f'| ratio | {" | ".join(SHAPES)} | mean | far |' in text
    assert f'torch {torch.__version__}' in text and '1.00x' not in text.splitlines()[0]
    assert cv2.imread(str(tmp_path / 'speed_quick.png')).shape[1] == 1400
    assert str(tmp_path / 'speed_quick.json') in capsys.readouterr().out


def test_modules_of_an_earlier_run_stay(speed, command, tmp_path):
    parts = command('--parts', 'modules', '--attention', 'SE')
    (was,) = {row['attention'] for row in parts['modules']['rows']}
    parts['modules']['date'] = '2026-01-02'
    (tmp_path / 'speed_quick.json').write_text(json.dumps(parts))
    rows = command('--parts', 'modules', '--attention', 'ECA')['modules']['rows']
    dates = {row['attention']: row.get('date') for row in rows}
    assert dates == {was: '2026-01-02', 'ECA': None}
    text = (tmp_path / 'speed_quick.md').read_text()
    assert 'Measured 2026-01-02, on the same machine: SE.\n' in text
    assert text.index('| ECA |') < text.index('| SE |')

    # Figures of another torch are not beside them; measured again, a module is there once.
    parts['modules']['torch'] = '1.0'
    (tmp_path / 'speed_quick.json').write_text(json.dumps(parts))
    rows = command('--parts', 'modules', '--attention', 'ECA')['modules']['rows']
    assert {row['attention'] for row in rows} == {'ECA'}
    assert len(command('--parts', 'modules', '--attention', 'ECA')['modules']['rows']) == len(rows)


def test_means_are_geometric(speed):
    from speed_report import _modules

    row = dict(attention='SE', layout='NCHW', step='inference')
    rows = [
        dict(row, shape=[1, 1, 1, size], ratio=dict(auto=[auto] * 3, pure=[1.0] * 3), seconds=times)
        for size, auto, times in (
            (1, 1.0, dict.fromkeys(('auto', 'pure', 'literal', 'bound'), [1e-3] * 3)),
            (2, 4.0, dict(auto=[1e-3], pure=[4e-3], literal=[4e-3], bound=[1e-3])),
        )
    ]
    rows.append(dict(rows[1], attention='PAM'))
    text = '\n'.join(_modules(rows))
    assert '| PAM | - | 4.00 (1.00) | 4.00 (1.00) | 1 of 1 |' in text
    assert '| SE | 1.00 (1.00) | 4.00 (1.00) | 2.00 (1.00) | 1 of 2 |' in text
    assert '| SE | 1 / 1 / 1 / 1 | 1 / 4 / 4 / 1 |' in text


@pytest.mark.parametrize('name', MODELS.names_in('mmattn.attention'))
def test_every_attention_fits_what_is_measured(name, speed):
    assert name in speed.LITERALS and name in attention_names()
    for shape in speed.SHAPES:
        MODELS.get(name)(shape[1], **speed.module_arguments(name, shape))
    for config in ('resnet50_scsa_in1k', 'mobilenet_v2_scsa_in1k'):
        cfg, _ = prepare(config, speed.network_options(config, name))
        backbone = MODELS.build(cfg.model.backbone)
        assert any(type(m).__name__ == name for m in backbone.modules())


def test_the_unavoidable_is_reads_and_writes(speed):
    x = torch.zeros(1, 2, 3, 4).to(memory_format=torch.channels_last)
    for step in ('inference', 'training'):
        speed.unavoidable(x, step)()
    assert not x.any()
    # a module's step leaves no gradients
    module = torch.nn.Conv2d(2, 2, 1)
    speed.module_step(module, x, x, 'training')()
    assert module.training and module.weight.grad is None
