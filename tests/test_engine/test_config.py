"""Configs: names, options, work dirs, metrics."""

import pytest
from mmengine.config import Config

from mmattn.engine import config as configs
from mmattn.utils.errors import UserError


def test_shipped_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('resnet50_scsa_in1k', 'resnet50_scsa_in1k.py', 'configs/resnet50_scsa_in1k.py'):
        assert configs.find_config(name).name == 'resnet50_scsa_in1k.py'


def test_existing_file_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'resnet50_scsa_in1k.py').write_text('')
    assert str(configs.find_config('resnet50_scsa_in1k.py')) == 'resnet50_scsa_in1k.py'


def test_misspelt_config_names_the_nearest():
    with pytest.raises(UserError, match="'configs/resnet50_sca_in1k.py'.*resnet50_scsa_in1k"):
        configs.find_config('configs/resnet50_sca_in1k.py')


def test_folder_is_not_a_config(tmp_path):
    with pytest.raises(UserError, match='folder'):
        configs.find_config(str(tmp_path))


def test_mmattn_is_imported_by_every_config(project):
    cfg, notes = configs.load_config('tiny.py')
    assert cfg.custom_imports.imports == ['mmattn']
    assert notes == []


def test_own_imports_are_kept(project):
    text = (project / 'tiny.py').read_text()
    (project / 'tiny.py').write_text("custom_imports = dict(imports=['json'])\n" + text)
    cfg, _ = configs.load_config('tiny.py')
    assert cfg.custom_imports.imports == ['json', 'mmattn']


def test_options_reach_values_lists_and_none(project):
    cfg, notes = configs.load_config(
        'tiny.py',
        [
            'model.backbone.attention.type=ECA',
            'train_dataloader.dataset.pipeline.0.type=X',
            'model.head.topk=(1,2)',
            'val_cfg=None',
        ],
    )
    assert cfg.model.backbone.attention.type == 'ECA'
    assert cfg.train_dataloader.dataset.pipeline[0].type == 'X'
    assert tuple(cfg.model.head.topk) == (1, 2)
    assert cfg.val_cfg is None
    assert notes == []


def test_attention_can_be_taken_away_and_given_back(project):
    cfg, _ = configs.load_config('tiny.py', ['model.backbone.attention=None'])
    assert cfg.model.backbone.attention is None
    configs.merge_options(cfg, {'model.backbone.attention.type': 'CA'})
    assert cfg.model.backbone.attention == {'type': 'CA'}


@pytest.mark.parametrize(
    ('option', 'meant'),
    [
        ('model.backbon.attention.type=ECA', 'model.backbone.attention.type'),
        ('model.backbone.attenton.type=ECA', 'model.backbone.attention.type'),
        ('train_cfg.max_epoch=3', 'train_cfg.max_epochs'),
        ('optim_wraper.optimizer.lr=1', 'optim_wrapper.optimizer.lr'),
    ],
)
def test_misspelt_key_is_refused_with_the_right_one(project, option, meant):
    with pytest.raises(UserError, match=f'Did you mean {meant}'):
        configs.load_config('tiny.py', [option])


def test_new_key_is_noted_and_set(project):
    cfg, notes = configs.load_config('tiny.py', ['optim_wrapper.clip_grad.max_norm=35'])
    assert cfg.optim_wrapper.clip_grad.max_norm == 35
    assert len(notes) == 1
    assert 'clip_grad' in notes[0]


def test_known_argument_that_resembles_another_is_accepted(project):
    # 'val_cfg' is near 'test_cfg', but mmengine's Runner takes it
    cfg = Config.fromfile('tiny.py')
    cfg.pop('val_cfg')
    configs.merge_options(cfg, {'val_cfg.type': 'ValLoop', 'load_from': 'x.pth'})
    assert cfg.val_cfg == {'type': 'ValLoop'}
    assert cfg.load_from == 'x.pth'


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('model', 'key=value'),
        ('train_dataloader.dataset.pipeline.9.type=X', 'list of 2 entries'),
        ('train_dataloader.batch_size.x=1', 'which has no key'),
    ],
)
def test_option_that_cannot_apply(project, option, words):
    with pytest.raises(UserError, match=words):
        configs.load_config('tiny.py', [option])


def test_work_dir_of_command_config_and_demo():
    cfg = Config()
    configs.set_work_dir(cfg, None, 'a/b.py')
    assert cfg.work_dir == 'work_dirs/b'
    configs.set_work_dir(cfg, None, 'a/b.py', demo=True)
    assert cfg.work_dir == 'work_dirs/b_demo'
    configs.set_work_dir(cfg, 'x', 'a/b.py', demo=True)
    assert cfg.work_dir == 'x'


def test_auto_scale_lr_needs_a_base_batch_size():
    with pytest.raises(UserError, match='base_batch_size'):
        configs.enable_auto_scale_lr(Config())
    cfg = Config({'auto_scale_lr': {'base_batch_size': 16}})
    configs.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable is True


def test_amp_refuses_what_it_does_not_know():
    with pytest.raises(UserError, match='ApexOptimWrapper'):
        configs.enable_amp(Config({'optim_wrapper': {'type': 'ApexOptimWrapper'}}))


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
    assert configs.main_metric(evaluator) == metric


def test_best_checkpoint_unless_the_config_decides():
    cfg = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': [{'type': 'IoUMetric'}]})
    assert configs.set_save_best(cfg) is None
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    cfg.default_hooks.checkpoint.save_best = None
    configs.set_save_best(cfg)
    assert cfg.default_hooks.checkpoint.save_best is None
    other = Config({'default_hooks': {'checkpoint': {}}, 'val_evaluator': {'type': 'X'}})
    assert 'save_best' in configs.set_save_best(other)
