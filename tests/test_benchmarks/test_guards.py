"""benchmarks/guards.py measures a step without the guards, with them, and the guards alone."""

import importlib
import json
import sys

import pytest
import torch

from mmattn.analysis.networks import Network, Setting
from mmattn.engine.prepare import prepare

CONFIG = 'resnet50_scsa_in1k'
SMALL = ['model.backbone.depth=18', 'model.head.in_channels=512']


@pytest.fixture
def guards(project_root, monkeypatch):
    if not (project_root / 'benchmarks').is_dir():
        pytest.skip('benchmarks/ is not part of the wheel')
    monkeypatch.syspath_prepend(str(project_root / 'benchmarks'))
    module = importlib.import_module('guards')
    # It would hold for the whole process.
    monkeypatch.setattr(module, 'steady_allocator', lambda: True)
    monkeypatch.setattr(module, 'NETWORKS', ((CONFIG, SMALL, 2, (64, 64)),))
    yield module
    del sys.modules['guards']


def test_the_ratios_are_kept(guards, monkeypatch, tmp_path, capsys):
    words = ['guards.py', '--quick', '--device', 'cpu', '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', words)
    guards.main()
    (row,) = json.loads((tmp_path / 'guards_quick.json').read_text())['rows']
    assert set(row['seconds']) == {'plain', 'guarded', 'guards'}
    figures = [*row['seconds'].values(), row['guarded to plain'], row['guards to plain']]
    assert all(0 < low <= median <= high for median, low, high in figures)
    assert CONFIG in capsys.readouterr().out


def test_the_guarded_step_is_guarded_and_takes_the_same_step(guards):
    cfg, _ = prepare(CONFIG, SMALL)
    network = Network(cfg, Setting(2, (32, 32)))
    calls = guards.candidates(network)
    weight = network.model.head.fc.bias  # begins at 0: small steps show
    statistics = network.model.backbone.bn1
    for name in ('plain', 'guarded'):
        before = weight.detach().clone()
        calls[name]()
        assert not torch.equal(weight, before)
    before = [value.clone() for value in statistics.state_dict().values()]
    calls['guards']()
    assert all(map(torch.equal, statistics.state_dict().values(), before))
    network.images[0] = float('nan')
    before = weight.detach().clone()
    with pytest.raises(Exception):  # noqa: B017  (there is no message hub to ask what the loss was)
        calls['guarded']()
    assert torch.equal(weight, before)
    calls['plain']()
    assert not weight.isfinite().all()
