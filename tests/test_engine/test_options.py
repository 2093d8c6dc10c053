"""--cfg-options."""

import pytest
from mmengine.config import Config

from mmattn.engine.config import load_config, merge_options
from mmattn.utils.errors import UserError


def test_options_reach_values_lists_and_none(project):
    cfg, notes = load_config(
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
    cfg, _ = load_config('tiny.py', ['model.backbone.attention=None'])
    assert cfg.model.backbone.attention is None
    merge_options(cfg, {'model.backbone.attention.type': 'CA'})
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
        load_config('tiny.py', [option])


def test_new_key_is_noted_and_set(project):
    cfg, notes = load_config('tiny.py', ['optim_wrapper.clip_grad.max_norm=35'])
    assert cfg.optim_wrapper.clip_grad.max_norm == 35
    assert len(notes) == 1
    assert 'clip_grad' in notes[0]


def test_known_argument_that_resembles_another_is_accepted(project):
    # 'val_cfg' is near 'test_cfg', but mmengine's Runner takes it
    cfg = Config.fromfile('tiny.py')
    cfg.pop('val_cfg')
    merge_options(cfg, {'val_cfg.type': 'ValLoop', 'load_from': 'x.pth'})
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
        load_config('tiny.py', [option])
