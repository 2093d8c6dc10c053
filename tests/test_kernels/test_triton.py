"""Triton's kernels without a GPU: what they compute, in its interpreter; that they compile.

Both in a process of their own, which Triton's variable is for; the interpreter is slow, so that
one case of each primitive runs here. All of them: ``TRITON_INTERPRET=1 pytest test_primitives.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn.kernels import choice

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(not choice.CAN_REGISTER, reason='the kernels need torch 2.4 or newer'),
    pytest.mark.skipif(choice.find_spec('triton') is None, reason='triton is not installed'),
    pytest.mark.slow,
]


def run(file, **variables):
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', str(HERE / file)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', **variables}
    done = subprocess.run(
        command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


def test_the_numbers_are_those_of_the_pure_way():
    run('triton_numbers.py', TRITON_INTERPRET='1')


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """What the interpreter does not see: types of loops, shapes, what tl.dot takes."""
    run('triton_compiles.py', TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET='0')
