"""Checkpoints appear whole; the memory format is set before the model is wrapped."""

import pytest
import torch
from torch import nn

from mmattn.engine.config import load_config
from mmattn.engine.runner import Runner, open_runner
from mmattn.utils.errors import UserError


def build(*options, **changes):
    cfg, _ = load_config('tiny.py', options)
    cfg.merge_from_dict(dict(changes, work_dir='w'))
    return Runner.from_cfg(cfg)


def test_two_runs_within_a_second_are_two(project, monkeypatch):
    monkeypatch.setattr('time.strftime', lambda *_: 'this second')
    one, other = build(), build()
    assert one.message_hub is not other.message_hub
    assert one.visualizer is not other.visualizer
    assert one.logger is not other.logger and one.log_dir != other.log_dir


def test_interrupted_write_leaves_the_old_checkpoint(project, monkeypatch):
    runner = build()
    runner.train_loop  # noqa: B018  builds the data loader, which a checkpoint describes
    runner.save_checkpoint('w', 'epoch_1.pth', save_optimizer=False, save_param_scheduler=False)
    path = project / 'w' / 'epoch_1.pth'
    before = path.read_bytes()

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr('mmattn.utils.files.os.fsync', fail)
    with pytest.raises(UserError, match='epoch_1.pth .* could not be written: disk full'):
        runner.save_checkpoint('w', 'epoch_1.pth', save_optimizer=False, save_param_scheduler=False)
    assert path.read_bytes() == before


class Wrapper(nn.Module):
    """Notes, as DDP's buckets do, the strides of what it wraps."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.strides = [weight.stride() for weight in module.parameters()]


def test_channels_last_comes_before_the_wrapper(project, monkeypatch):
    monkeypatch.setattr(
        'mmengine.runner.Runner.wrap_model', lambda self, cfg, model: Wrapper(model)
    )
    wrapped = build(custom_hooks=[dict(type='mmattn.ChannelsLastHook')]).model
    assert [weight.stride() for weight in wrapped.module.parameters()] == wrapped.strides
    kernel = wrapped.module.backbone.conv1.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last) and not kernel.is_contiguous()


def test_an_error_of_a_run_takes_the_progress_bar_away(project, monkeypatch):
    closed = []
    monkeypatch.setattr('mmattn.engine.runner.ProgressHook.close', lambda self: closed.append(1))
    cfg, _ = load_config('tiny.py', ['work_dir=w'])
    with pytest.raises(ZeroDivisionError), open_runner(cfg, []):
        1 / 0  # noqa: B018
    assert closed == [1]
