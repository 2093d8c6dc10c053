"""The metric that chooses the best checkpoint."""

import pytest
from mmengine.config import Config

from mmattn.engine.prepare import main_metric, set_save_best


@pytest.mark.parametrize(
    ('evaluator', 'metric'),
    [
        ({'type': 'CocoMetric', 'metric': ['bbox', 'segm']}, 'coco/bbox_mAP'),
        ({'type': 'mmdet.CocoMetric', 'metric': 'segm'}, 'coco/segm_mAP'),
        ({'type': 'VOCMetric'}, 'pascal_voc/mAP'),
        ({'type': 'mmattn.VisDroneMetric'}, 'visdrone/bbox_mAP'),
        ({'type': 'IoUMetric'}, 'mIoU'),
        ({'type': 'Accuracy', 'topk': (5, 1)}, 'accuracy/top1'),
        ({'type': 'Accuracy', 'prefix': 'x'}, 'x/top1'),
        ({'type': 'Unknown'}, None),
    ],
)
def test_main_metric(evaluator, metric):
    assert main_metric(evaluator) == metric


def test_best_checkpoint_unless_the_config_decides():
    cfg = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': [{'type': 'IoUMetric'}]})
    assert set_save_best(cfg) == []
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    cfg.default_hooks.checkpoint.save_best = None
    set_save_best(cfg)
    assert cfg.default_hooks.checkpoint.save_best is None
    other = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': {'type': 'X'}})
    assert 'save_best' in set_save_best(other)[0]
