"""Imports inside of mmattn go down only: the contract in pyproject.toml holds, and can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('importlinter')
LINT = 'from importlinter.cli import lint_imports_command as main; main()'


@pytest.fixture
def lint(project_root, tmp_path):
    """Run import-linter on a copy of the package."""
    contract = project_root / 'pyproject.toml'
    if 'importlinter' not in contract.read_text() or not (project_root / 'mmattn').is_dir():
        pytest.skip('lints the sources of a checkout, and this is none')
    shutil.copy(contract, tmp_path)
    shutil.copytree(
        project_root / 'mmattn', tmp_path / 'mmattn', ignore=shutil.ignore_patterns('__pycache__')
    )

    def run():
        return subprocess.run(
            [sys.executable, '-c', LINT, '--no-cache'],
            cwd=tmp_path,
            env={'PYTHONPATH': str(tmp_path)},
            capture_output=True,
            text=True,
        )

    return run


def append(path: Path, line: str) -> None:
    path.write_text(f'{path.read_text()}\n{line}\n')


def test_no_import_goes_up(lint, tmp_path):
    done = lint()
    assert done.returncode == 0, done.stdout
    append(tmp_path / 'mmattn' / 'attention' / 'se.py', 'from mmattn.backbones import base')
    done = lint()
    assert done.returncode == 1
    assert 'mmattn.attention is not allowed to import mmattn.backbones' in done.stdout


def test_a_new_package_needs_a_place(lint, tmp_path):
    (tmp_path / 'mmattn' / 'extras').mkdir()
    (tmp_path / 'mmattn' / 'extras' / '__init__.py').write_text('')
    done = lint()
    assert done.returncode == 1 and 'extras' in done.stdout
