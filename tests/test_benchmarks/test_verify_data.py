"""benchmarks/verify_data.py reads whole images, finds nothing wrong, and keeps the rates."""

import json
import runpy
import sys

import pytest


def test_the_rates_are_kept(project_root, monkeypatch, tmp_path):
    pytest.importorskip('mmdet')
    script = project_root / 'benchmarks' / 'verify_data.py'
    if not script.is_file():
        pytest.skip('benchmarks/ is not part of the wheel')
    monkeypatch.setattr(sys, 'argv', [str(script), '--images', '60', '--out', str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name='__main__')
    assert end.value.code == 0
    kept = json.loads((tmp_path / 'verify_data_cpu.json').read_text())
    assert kept['images'] == 60
    assert kept['images a second'] > 0
    assert kept["images a second of the processors' time"] > 0
