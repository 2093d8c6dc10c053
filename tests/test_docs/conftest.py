"""The scripts in docs/, as modules."""

import importlib
import importlib.util
import sys

import pytest


@pytest.fixture(scope='session')
def load_script():
    """(checkout, NAME) -> the module docs/NAME.py; the paths that it adds for itself are gone."""

    def load(root, name):
        path = root / 'docs' / f'{name}.py'
        if not path.is_file():
            pytest.skip('docs/ is in the checkout only, not in the wheel')
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        before = sys.path[:]
        spec.loader.exec_module(module)
        sys.path[:] = before
        return module

    return load


@pytest.fixture(scope='session')
def generate(project_root):
    """The package docs/generate, which writes pages of the site."""
    if not (project_root / 'docs' / 'generate').is_dir():
        pytest.skip('docs/ is in the checkout only, not in the wheel')
    pytest.importorskip('mmpretrain')
    sys.path.insert(0, str(project_root / 'docs'))
    yield importlib.import_module('generate')
    sys.path.remove(str(project_root / 'docs'))
