"""Pictures are drawn for each task, from a demo config and a checkpoint."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from mmattn.demo import draw_predictions, make_demo


def untrained(cfg, folder):
    """Saves random weights of the demo's model, with some detections above the threshold."""
    torch.manual_seed(0)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with MODELS.switch_scope_and_registry(cfg.default_scope) as registry:
        model = registry.build(cfg.model)
    if cfg.default_scope == 'mmdet':
        model.roi_head.bbox_head.fc_cls.bias.data[0] = 8.0
    path = folder / 'untrained.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return str(path)


@pytest.mark.parametrize('kind', ['faster_rcnn', 'upernet', 'cifar'])
def test_pictures_are_written(kind, config_of, tmp_path):
    config = config_of(kind)
    if kind == 'cifar':
        config.model = dict(
            type='ImageClassifier',
            backbone=dict(type='ResNet_CIFAR', depth=18, num_stages=4, out_indices=(3,)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=100, in_channels=512),
        )
        config.data_preprocessor = dict(mean=[127.0] * 3, std=[50.0] * 3, to_rgb=False)
    elif kind == 'upernet':
        for part in (config.model.backbone, config.model.decode_head, config.model.auxiliary_head):
            part.norm_cfg = dict(type='BN')
    cfg, _ = make_demo(config, str(tmp_path))
    paths = draw_predictions(cfg, untrained(cfg, tmp_path), str(tmp_path / 'pictures'), num=2)
    assert len(paths) == len(set(paths)) == 2
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width >= 2 * 480
            assert picture.height >= 200
            # More than blank paper.
            assert len(picture.getcolors(1 << 24)) > 100


def test_a_checkpoint_that_does_not_fit_is_refused(config_of, tmp_path):
    cfg, _ = make_demo(config_of('faster_rcnn'), str(tmp_path))
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'empty.pth')
    with pytest.raises((RuntimeError, ValueError), match='does not fit|missing keys'):
        draw_predictions(cfg, str(tmp_path / 'empty.pth'), str(tmp_path / 'pictures'))


@pytest.mark.parametrize(('num', 'config'), [(0, {'val_dataloader': {'dataset': {}}}), (1, {})])
def test_impossible_requests_are_refused(num, config, tmp_path):
    with pytest.raises(ValueError, match='num is 0|val_dataloader'):
        draw_predictions(Config(config), 'none.pth', str(tmp_path), num=num)
