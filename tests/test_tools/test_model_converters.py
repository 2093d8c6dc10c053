"""tools/model_converters/*.py as a person starts them; what they do is in tests/test_weights."""

import os
import subprocess
import sys

import pytest

NAMES = ('convert_checkpoint', 'reparameterize', 'export', 'publish')


@pytest.mark.parametrize('name', NAMES)
def test_help_is_immediate_and_imports_nothing(project_root, name):
    path = project_root / 'tools' / 'model_converters' / f'{name}.py'
    assert os.access(path, os.X_OK)
    # -S leaves site-packages out: the help must not need torch.
    done = subprocess.run(
        [sys.executable, '-S', str(path), '--help'], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and '--force' in done.stdout, done.stderr
