"""Configs are found, read, and changed with --cfg-options; a broken one is one line."""

import sys

import pytest
from mmengine.config import Config

from mmattn.engine.config import find_config, load_config, merge_options
from mmattn.utils.errors import UserError


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """What a config's folder adds to it stays in the test."""
    monkeypatch.setattr(sys, 'path', list(sys.path))


def test_shipped_config_is_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('resnet50_scsa_in1k', 'resnet50_scsa_in1k.py', 'configs/resnet50_scsa_in1k.py'):
        assert find_config(name).name == 'resnet50_scsa_in1k.py'


def test_existing_file_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'resnet50_scsa_in1k.py').write_text('')
    assert str(find_config('resnet50_scsa_in1k.py')) == 'resnet50_scsa_in1k.py'


def test_misspelt_config_names_the_nearest():
    with pytest.raises(UserError, match="'configs/resnet50_sca_in1k.py'.*resnet50_scsa_in1k"):
        find_config('configs/resnet50_sca_in1k.py')


def test_folder_is_not_a_config(tmp_path):
    with pytest.raises(UserError, match='folder'):
        find_config(str(tmp_path))


def test_mmattn_is_imported_by_every_config(project):
    cfg, notes = load_config('tiny.py')
    assert cfg.custom_imports.imports == ['mmattn']
    assert notes == []


def test_own_imports_are_kept(project):
    text = (project / 'tiny.py').read_text()
    (project / 'tiny.py').write_text("custom_imports = dict(imports=['json'])\n" + text)
    cfg, _ = load_config('tiny.py')
    assert cfg.custom_imports.imports == ['json', 'mmattn']


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a = = 1', 'broken.py, line 1: SyntaxError: invalid syntax: a = = 1'),
        ('a = 1\nb = foo', "broken.py, line 2: NameError: name 'foo' is not defined"),
        ("_base_ = 'tiney.py'", 'its _base_ .*tiney.py does not exist. Did you mean tiny.py'),
        ("_base_ = 'mmdet::rpn/no.py'", 'its _base_ .*no.py does not exist'),
        ("_base_ = 'mmdett::rpn/no.py'", 'mmdett'),
        ("_base_ = 'tiny.py'\ndata_root = dict(a=1)", 'TypeError'),
        (
            "custom_imports = dict(imports=['nowhere'])",
            "custom_imports: No module named 'nowhere'",
        ),
        (
            'from mmengine.config import read_base\nwith read_base():\n'
            '    from mmdet.configs._base_.default_runtime import *',
            r"read_base: mmdet.configs._base_.default_runtime is not there.*_base_ = 'mmdet::",
        ),
    ],
)
def test_a_broken_config_is_one_line(project, text, words):
    (project / 'broken.py').write_text(text)
    with pytest.raises(UserError, match=f'config broken.py: .*{words}') as error:
        load_config('broken.py')
    assert '\n' not in str(error.value)


def test_a_bug_in_an_own_module_keeps_its_traceback(project):
    (project / 'own_bug.py').write_text('1 / 0')
    (project / 'with_bug.py').write_text("custom_imports = dict(imports=['own_bug'])")
    with pytest.raises(ZeroDivisionError):
        load_config('with_bug.py')


def test_own_modules_beside_the_config_are_found_from_anywhere(
    project, tmp_path_factory, monkeypatch
):
    (project / 'own_attention.py').write_text('')
    (project / 'json.py').write_text('1 / 0')  # the installed one is meant
    text = "custom_imports = dict(imports=['mmattn', 'own_attention', 'json'])"
    (project / 'own.py').write_text(text)
    monkeypatch.chdir(tmp_path_factory.mktemp('elsewhere'))
    _, notes = load_config(str(project / 'own.py'))
    assert notes == [f'own_attention is imported from the folder of the config, {project}.']


@pytest.mark.parametrize(
    ('text', 'scope'),
    [
        ('from mmdet.models import FasterRCNN\nmodel = dict(type=FasterRCNN)', 'mmdet'),
        ("model = dict(type='mmpretrain.ImageClassifier')", 'mmpretrain'),
        ("model = dict(type='Own')", None),
    ],
)
def test_the_toolbox_is_told_from_the_model(project, text, scope):
    (project / 'new.py').write_text(text)
    assert load_config('new.py')[0].get('default_scope') == scope


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
