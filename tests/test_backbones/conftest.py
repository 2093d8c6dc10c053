"""Stock models to compare with."""

import importlib

import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.registry import MODELS

# One of each class of backbones, as small as it comes.
SMALL = {
    'DenseNetCIFAR': dict(depth=10),
    'MobileNetV2': dict(widen_factor=0.25),
    'RepVGG': dict(arch='A0', base_channels=16),
    'Res2Net': dict(depth=50, base_width=8, base_channels=16),
    'Res2NetCIFAR': dict(depth=20),
    'ResNeXt': dict(depth=50, groups=4, base_channels=16),
    'ResNet': dict(depth=50, base_channels=16),
    'ResNetCIFAR': dict(depth=20),
    'ResNetV1c': dict(depth=18, base_channels=16),
    'ResNetV1d': dict(depth=18, base_channels=16),
    'SERes2Net': dict(depth=50, base_width=8, base_channels=16),
    'SERes2NetCIFAR': dict(depth=20),
    'SwinTransformer': dict(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)),
}


@pytest.fixture(scope='session')
def small():
    """Build a small backbone of a class, by its name."""

    def build(name, **options):
        return MODELS.build(dict(type=name, **SMALL[name], **options))

    return build


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
