"""Models for the tools come whole, from any config, with every weight."""

import pytest
import torch

from mmattn.registry import MODELS
from mmattn.utils.errors import UserError
from mmattn.weights.export import choose_part
from mmattn.weights.models import load_model

CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=3, mean=[1.0] * 3, std=[2.0] * 3)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmattn.ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64),
)
"""
BACKBONE = dict(type='mmattn.ResNet', depth=18, base_channels=8, stem_channels=8)


@pytest.fixture
def config(tmp_path):
    pytest.importorskip('mmpretrain')
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def weights(tmp_path):
    """A file of bare backbone keys, as convert_checkpoint.py writes."""
    path = tmp_path / 'backbone.pth'
    torch.save(dict(state_dict=MODELS.build(dict(BACKBONE)).state_dict(), meta=dict(a=1)), path)
    return path


def same(model, path):
    state = torch.load(path)['state_dict']
    return all(torch.equal(value, state[key]) for key, value in model.backbone.state_dict().items())


def test_a_backbones_checkpoint_goes_into_the_backbone(config, weights):
    loaded = load_model(str(config), weights)
    assert same(loaded.model, weights) and loaded.meta == dict(a=1)
    assert not loaded.model.training
    assert loaded.model.data_preprocessor.mean.flatten().tolist() == [1.0] * 3


def test_local_weights_of_the_config_are_used(config, weights):
    loaded = load_model(str(config), None)
    assert loaded.notes == ['no checkpoint was given: the weights are random']
    config.write_text(
        CONFIG
        + f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint={str(weights)!r})"
    )
    loaded = load_model(str(config), None)
    assert same(loaded.model, weights) and f'weights of {weights}' in loaded.notes


def test_a_checkpoint_that_is_not_complete_is_refused(config, weights):
    state = torch.load(weights)['state_dict']
    del state['layer1.0.conv1.weight']
    torch.save(state, weights)
    with pytest.raises(UserError, match=r'backbone.pth does not fit.*1 keys are missing .layer1.0'):
        load_model(str(config), weights)
    state['layer1.0.conv1.weight'] = torch.zeros(3)
    torch.save(state, weights)
    with pytest.raises(UserError, match='backbone.pth does not fit.*size mismatch'):
        load_model(str(config), weights)


def test_of_a_detector_the_backbone_is_exported():
    pytest.importorskip('mmdet')
    loaded = load_model('faster_rcnn_r50_scsa_1x_coco', None)
    assert 'no checkpoint was given: the weights are random' in loaded.notes
    outs = choose_part(loaded.model, 'backbone')(torch.zeros(1, 3, 64, 64))
    assert [out.shape[1] for out in outs] == [256, 512, 1024, 2048]
    with pytest.raises(UserError, match='FasterRCNN is no classifier.*--part backbone'):
        choose_part(loaded.model, 'classifier')


def test_a_config_without_a_model_is_named(tmp_path):
    path = tmp_path / 'odd.py'
    path.write_text("default_scope = 'mmengine'\nx = 1")
    with pytest.raises(UserError, match='odd.py has no model with a backbone'):
        load_model(str(path), None)
