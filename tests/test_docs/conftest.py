"""The scripts in docs/, as modules."""

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
