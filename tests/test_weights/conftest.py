"""Published models: their key names, and their weights where outputs are compared."""

import importlib.util
import json
import runpy
import sys

import pytest
import torch


@pytest.fixture(scope='session')
def goldens(shared_dir):
    return shared_dir / 'goldens'


@pytest.fixture(scope='session')
def published_keys(goldens):
    """Name of a published model -> its keys and shapes."""
    models = json.loads((goldens / 'models_keys.json').read_text())
    return {name: model['state_dict'] for name, model in models.items()}


@pytest.fixture(scope='session')
def fill(goldens):
    spec = importlib.util.spec_from_file_location('fill', goldens / 'fill.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill


@pytest.fixture(scope='session')
def empty(published_keys):
    """A published model's weights, all zero."""

    def build(name):
        return {key: torch.zeros(shape) for key, shape in published_keys[name].items()}

    return build


@pytest.fixture(scope='session')
def filled(published_keys, fill):
    """A published model's weights with the golden values."""

    def build(name):
        return {
            key: torch.from_numpy(fill(f'model/{name}', key, shape))
            for key, shape in published_keys[name].items()
        }

    return build


@pytest.fixture
def quick_build(monkeypatch):
    """Leave out the random initialisation, most of the time where only keys matter."""
    monkeypatch.setattr(torch.nn.init, 'kaiming_uniform_', lambda tensor, **options: tensor)


@pytest.fixture
def tool(project_root):
    """Run tools/model_converters/NAME.py in this process with a command line."""

    def run(name, *words, monkeypatch):
        path = project_root / 'tools' / 'model_converters' / f'{name}.py'
        monkeypatch.setattr('sys.path', [*sys.path])
        monkeypatch.setattr('sys.argv', [str(path), *map(str, words)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name='__main__')
        return end.value.code

    return lambda name, *words, **options: run(name, *words, **options)
