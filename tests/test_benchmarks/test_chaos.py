"""benchmarks/chaos/chaos.py, a tenth of it: nothing is lost, and the weights are the same."""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_tenth(project_root, tmp_path):
    pytest.importorskip('mmseg')
    pytest.importorskip('mmdet')
    script = project_root / 'benchmarks' / 'chaos' / 'chaos.py'
    if not script.is_file():
        pytest.skip('benchmarks/ is not part of the wheel')
    done = subprocess.run(
        [sys.executable, str(script), '--quick'],
        env={**os.environ, 'TMPDIR': str(tmp_path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip('|').split('|') for line in done.stdout.splitlines() if '|' in line]
    rows = {name.strip(): [int(value) for value in values[:4]] for name, *values, _ in lines[2:]}
    assert len(rows) == 11
    for trials, survived, identical, lost in rows.values():
        assert trials == survived == identical and lost <= 2
