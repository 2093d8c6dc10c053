"""One finished run for every test that starts where a run has ended."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import pytest

from mmattn.engine.train import train


@pytest.fixture(scope='session')
def finished(request, tmp_path_factory):
    """tiny.py of a project, trained with seed 1: (project, summary, what was printed)."""
    conftest = str(Path(__file__).parents[1] / 'conftest.py')
    tiny = request.config.pluginmanager.getplugin(conftest)
    root = tmp_path_factory.mktemp('finished')
    tiny.write_tiny_data(root / 'data' / 'tiny')
    (root / 'tiny.py').write_text(tiny.TINY_CONFIG)
    before, printed = os.getcwd(), io.StringIO()
    os.chdir(root)
    try:
        with contextlib.redirect_stdout(printed):
            summary = train('tiny.py', seed=1)
    finally:
        os.chdir(before)
    return root, summary, printed.getvalue()


@pytest.fixture
def trained(finished, tmp_path, monkeypatch):
    """A copy of the finished project, which is the working directory."""
    copy = shutil.copytree(finished[0], tmp_path / 'trained')
    monkeypatch.chdir(copy)
    return copy
