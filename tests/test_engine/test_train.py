"""Training a tiny classifier for real, in this process."""

import os
import re

import pytest
import torch

from mmattn.engine.train import train
from mmattn.utils.errors import UserError

ONE_EPOCH = 'train_cfg.max_epochs=1'


def test_a_run_ends_with_a_summary_a_log_and_whole_checkpoints(finished):
    project, summary, printed = finished
    work_dir = project / 'work_dirs' / 'tiny'
    assert summary.metrics['accuracy/top1'] >= 50
    assert summary.best_metric == 'accuracy/top1' and summary.best_score >= 50
    assert summary.best_checkpoint.startswith(str(work_dir))
    assert summary.attention == 'SE' and summary.task == 'classification (mmpretrain)'
    assert summary.progress == '2 epochs, 4 iterations'
    assert summary.first_iteration_seconds > 0
    for word in ('config    tiny.py', 'attention SE', 'Training finished', 'best checkpoint'):
        assert word in printed
    assert 'System environment' not in printed
    (log,) = (path.read_text() for path in work_dir.glob('*/*.log'))
    assert 'System environment' in log and 'first training iteration starts' in log
    for word in ('FileClient', 'HardDiskBackend'):
        assert word not in printed + log
    assert not list(work_dir.glob('.*.part'))


def test_a_moved_run_continues_from_its_last_whole_checkpoint(trained, capsys):
    (trained / 'work_dirs' / 'tiny').rename(trained / 'moved')
    newest = trained / 'moved' / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:5000])
    options = ['train_cfg.max_epochs=3']
    again = train('tiny.py', work_dir='moved', resume='auto', cfg_options=options)
    out = capsys.readouterr().out
    assert 'epoch_2.pth is passed over: it ' in out
    assert 'continues from moved/epoch_1.pth' in out
    assert again.progress == '3 epochs, 6 iterations'
    assert again.best_checkpoint.startswith('moved') or os.path.dirname(again.best_checkpoint)


def test_resume_without_a_checkpoint_starts_anew(project, capsys):
    summary = train('tiny.py', resume='auto', cfg_options=[ONE_EPOCH])
    assert 'starts anew' in capsys.readouterr().out
    assert summary.progress == '1 epoch, 2 iterations'


def test_a_demo_changes_the_config_before_it_is_checked_and_has_the_last_word(project, capsys):
    class Demo:
        def prepare(self, cfg):
            assert torch.distributed.is_initialized() == (cfg.launcher != 'none')
            cfg.train_dataloader.dataset.data_root = 'data/tiny'
            cfg.train_dataloader.num_workers = 4096
            return ['a demo note.']

        def finish(self, cfg, summary):
            return [f'{summary.progress} in {cfg.work_dir}']

    options = [ONE_EPOCH, 'train_dataloader.dataset.data_root=nowhere']
    train('tiny.py', demo=Demo(), cfg_options=options)
    out = capsys.readouterr().out
    assert 'note: a demo note.' in out and 'worker processes cut' in out
    assert out.rstrip().endswith('1 epoch, 2 iterations in work_dirs/tiny_demo')


def test_demo_and_data_root_exclude_each_other(project):
    with pytest.raises(UserError, match='--demo'):
        train('tiny.py', demo=object(), data_root='.')


def test_a_pythonic_config_trains_with_amp_by_name(project, capsys):
    text = (project / 'tiny.py').read_text()
    text = text.replace("default_scope = 'mmpretrain'", 'from mmpretrain.models import *').replace(
        'from mmpretrain.models import *',
        'from mmengine.optim import OptimWrapper\n'
        'from mmpretrain.models import ImageClassifier\n'
        'import mmattn',
    )
    text = text.replace("type='ImageClassifier'", 'type=ImageClassifier')
    text = text.replace("type='OptimWrapper'", 'type=OptimWrapper')
    (project / 'tiny.py').write_text(text)
    train('tiny.py', amp=True, cfg_options=[ONE_EPOCH])
    out = capsys.readouterr().out
    assert 'task      classification (mmpretrain)' in out
    assert torch.cuda.is_available() or re.search('mixed precision .* needs CUDA', out)
