"""Stock models to compare with."""

import importlib

import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm


@pytest.fixture(scope='session')
def in_scope():
    """Build a model config as a config of the toolbox does."""

    def build(toolbox, cfg):
        registry = importlib.import_module(f'{toolbox}.registry').MODELS
        with DefaultScope.overwrite_default_scope(toolbox):
            return registry.build(cfg)

    return build


@pytest.fixture(scope='session')
def randomise():
    """Give the BatchNorm layers of a model statistics that matter."""

    def fill(model):
        torch.manual_seed(0)
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        return model

    return fill
