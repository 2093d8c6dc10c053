"""Preparing a config: steps, toolbox, work dir."""

import pytest
from mmengine.config import Config

from mmattn.engine.prepare import prepare, require_toolbox, set_seed, set_work_dir
from mmattn.utils.errors import UserError


def test_steps_run_in_order_and_their_notes_are_collected_once(project):
    def first(cfg):
        cfg.trace = [cfg.work_dir]
        return ['a', 'b']

    def second(cfg):
        cfg.trace += ['second']
        return (note for note in ['b', 'c'])

    cfg, notes = prepare('tiny.py', ['work_dir=x'], [first, None, False, second, lambda cfg: None])
    assert cfg.trace == ['x', 'second']
    assert notes == ["--cfg-options work_dir: a new key, the config had no 'work_dir'.", *'abc']


@pytest.mark.parametrize(
    ('scope', 'words'),
    [('mmdett', 'Did you mean mmdet?'), ('somewhere', 'mmdet, mmseg, mmpretrain')],
)
def test_an_unknown_toolbox_is_refused(scope, words):
    with pytest.raises(UserError, match=f'default_scope={scope!r}.*{words}'):
        require_toolbox(Config(dict(default_scope=scope)))


def test_a_toolbox_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    monkeypatch.setattr('mmengine.registry.MODELS._children', {})
    with pytest.raises(UserError, match='mmseg.*not installed.*doctor'):
        require_toolbox(Config(dict(default_scope='mmseg')))


def test_work_dir_of_command_config_and_demo():
    cfg = Config()
    set_work_dir(cfg, None, 'a/b.py')
    assert cfg.work_dir == 'work_dirs/b'
    set_work_dir(cfg, None, 'a/b.py', demo=True)
    assert cfg.work_dir == 'work_dirs/b_demo'
    set_work_dir(cfg, 'x', 'a/b.py', demo=True)
    assert cfg.work_dir == 'x'


def test_seed_keeps_what_else_the_config_says():
    cfg = Config(dict(randomness=dict(deterministic=True, seed=1)))
    set_seed(cfg, 5)
    assert cfg.randomness == dict(deterministic=True, seed=5)
