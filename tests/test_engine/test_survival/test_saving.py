"""Checkpoints: written whole, verified before an older one goes, and no end of a run."""

import json
import logging
import re
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import FileClient, register_backend
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.hooks import CheckpointHook as EngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import Runner as EngineRunner

from mmattn.engine import cli
from mmattn.engine.runner import Runner
from mmattn.engine.survival import saving
from mmattn.engine.survival.checkpoint_hook import FAILED_SAVES, CheckpointHook, save_now
from mmattn.engine.survival.saving import SaveFailed, Unsaved
from mmattn.engine.train import train
from mmattn.utils.errors import UserError

from .conftest import Disk, full_disk, toy


def names(folder):
    """Checkpoints, and whatever should not be there."""
    found = {path.name for path in folder.iterdir() if path.is_file() or path.suffix == '.part'}
    return {name for name in found if name.endswith(('.pth', '.part'))}


def acc(*values):
    return [dict(acc=value) for value in values]


def known(runner):
    return runner.message_hub.runtime_info


def pointer(folder):
    return Path((folder / 'last_checkpoint').read_text()).name


def test_a_full_disk_ends_no_run(work_dir, caplog):
    runner = toy(work_dir, hooks=[Disk(full=[2])], checkpoint=dict(max_keep_ckpts=2))
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    handler.setLevel(logging.ERROR)
    runner.logger.addHandler(handler)
    runner.train()
    assert names(work_dir) == {'epoch_1.pth', 'epoch_3.pth'} and pointer(work_dir) == 'epoch_3.pth'
    assert len(said) == 1 and re.search(r'epoch_2.pth \(0.\d MB\) .*File too large', said[0])
    assert known(runner)[FAILED_SAVES] == 1
    saved = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    assert saved['message_hub']['runtime_info']['keep_ckpt_ids'] == [1, 3]
    assert torch.equal(saved['state_dict']['last.weight'], runner.model.last.weight)


def test_the_last_checkpoint_is_tried_again_at_the_end(work_dir):
    runner = toy(work_dir, hooks=[Disk(full=[3])])
    runner.train()
    assert names(work_dir) == {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    assert pointer(work_dir) == 'epoch_3.pth' and known(runner)[FAILED_SAVES] == 1


def test_a_last_checkpoint_that_is_missing_is_an_error_at_the_end(work_dir):
    runner = toy(work_dir, hooks=[Disk(full=[3], at_end=True)])
    with pytest.raises(Unsaved, match=r'epoch_3.pth .*File too large.*epoch_2.pth stands') as error:
        runner.train()
    assert error.value.exit_code == 1 and runner.epoch == 3
    assert names(work_dir) == {'epoch_1.pth', 'epoch_2.pth'} and pointer(work_dir) == 'epoch_2.pth'
    assert known(runner)['last_ckpt'].endswith('epoch_2.pth') and known(runner)[FAILED_SAVES] == 2


def test_the_run_goes_on_from_what_stands(work_dir):
    with pytest.raises(Unsaved, match='there is no other'):
        toy(work_dir, epochs=2, hooks=[Disk(full=[1, 2], at_end=True)]).train()
    assert names(work_dir) == set()
    runner = toy(work_dir, epochs=2, resume=True)
    runner.train()
    assert names(work_dir) == {'epoch_1.pth', 'epoch_2.pth'}


@pytest.mark.parametrize('most', [1, 2])
def test_an_older_checkpoint_goes_once_the_newer_one_is_verified(work_dir, most, monkeypatch):
    there = []

    def verify(path, content):
        there.append({name for name in names(work_dir) if name.endswith('.pth')})
        return holds(path, content)

    holds = saving.holds
    monkeypatch.setattr(saving, 'holds', verify)
    toy(work_dir, epochs=4, checkpoint=dict(max_keep_ckpts=most)).train()
    last = [{f'epoch_{n}.pth' for n in range(max(1, i - most), i)} for i in range(1, 5)]
    assert there == last
    assert names(work_dir) == {f'epoch_{n}.pth' for n in range(5 - most, 5)}


def test_the_best_is_replaced_once_the_new_one_is_known_to_a_checkpoint(work_dir, monkeypatch):
    there = []
    holds = saving.holds

    def verify(path, content):
        there.append(sorted(names(work_dir) - {path.parent.name}))
        return holds(path, content)

    monkeypatch.setattr(saving, 'holds', verify)
    options = dict(save_best='acc', max_keep_ckpts=1)
    toy(work_dir, acc(1, 2), epochs=2, checkpoint=options).train()
    both = ['best_acc_epoch_1.pth', 'best_acc_epoch_2.pth', 'epoch_2.pth']
    assert there == [
        [],  # epoch_1
        ['epoch_1.pth'],  # its best
        ['best_acc_epoch_1.pth', 'epoch_1.pth'],  # epoch_1 again, which knows the best
        ['best_acc_epoch_1.pth', 'epoch_1.pth'],  # epoch_2
        ['best_acc_epoch_1.pth', 'epoch_2.pth'],  # its best
        both,  # epoch_2 again
    ]
    assert names(work_dir) == set(both[1:])


def test_a_best_that_the_disk_refuses_leaves_the_former_one(work_dir):
    runner = toy(
        work_dir, acc(1, 2, 1.5), hooks=[Disk(full_best=[2])], checkpoint=dict(save_best='auto')
    )
    runner.train()
    # 1.5 is better than what stands
    assert known(runner)['best_score'] == 1.5 and known(runner)[FAILED_SAVES] == 1
    best = {name for name in names(work_dir) if name.startswith('best')}
    assert best == {'best_acc_epoch_3.pth'} == {Path(known(runner)['best_ckpt']).name}


def test_of_several_metrics_each_has_its_best(work_dir):
    scores = [dict(acc=1, loss=3), dict(acc=0, loss=2), dict(acc=2, loss=5)]
    options = dict(save_best=['acc', 'loss'], rule=['greater', 'less'])
    runner = toy(work_dir, scores, checkpoint=options)
    runner.train()
    best = {name for name in names(work_dir) if name.startswith('best')}
    assert best == {'best_acc_epoch_3.pth', 'best_loss_epoch_2.pth'}
    assert known(runner)['best_score_loss'] == 2 and known(runner)['best_score_acc'] == 2


class Die(Hook):
    """Dies before a checkpoint is written, the number of times before that aside."""

    def __init__(self, error, after):
        self.error, self.left = error, after

    def before_save_checkpoint(self, runner, checkpoint):
        if not self.left:
            raise self.error
        self.left -= 1


def test_a_run_killed_between_two_bests_keeps_both(work_dir):
    # epoch_1, its best, epoch_1 again, epoch_2, its best: then the end
    dying = [Die(KeyboardInterrupt(), 5)]
    options = dict(save_best='acc')
    with pytest.raises(KeyboardInterrupt):
        EngineRunner.train(toy(work_dir, acc(1, 2), epochs=2, hooks=dying, checkpoint=options))
    assert {'best_acc_epoch_1.pth', 'best_acc_epoch_2.pth'} < names(work_dir)


@pytest.mark.parametrize('error', [ZeroDivisionError('x'), UserError('x'), PermissionError('x')])
def test_what_is_no_fault_of_the_disk_ends_the_run(work_dir, error):
    with pytest.raises(type(error)):
        toy(work_dir, hooks=[Die(error, 1)]).train()
    assert names(work_dir) == {'epoch_1.pth'}


def test_what_reads_differently_has_not_been_written(work_dir, monkeypatch):
    def write(path, content):
        with open(path, 'wb') as file:
            file.write(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])

    monkeypatch.setattr(Path, 'write_bytes', write)
    runner = toy(work_dir, epochs=1)
    with pytest.raises(Unsaved, match='reads differently'):
        runner.train()
    assert names(work_dir) == set()


def test_what_dead_runs_have_left_is_removed(work_dir):
    work_dir.mkdir()
    part = work_dir / '.epoch_9.pth.abcd.part'
    part.mkdir()
    (part / 'epoch_9.pth').write_bytes(b'x' * 1000)
    (work_dir / '.epoch_8.pth.part').write_bytes(b'x')  # as they were called before
    (work_dir / 'mine.part').write_bytes(b'x')
    (work_dir / 'best.pth').write_bytes(b'x')
    toy(work_dir, epochs=1).train()
    assert names(work_dir) == {'mine.part', 'best.pth', 'epoch_1.pth'}


def test_a_folder_that_nothing_can_be_written_to_is_refused_before_the_training(work_dir, tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='file.* cannot be written: Not a directory'):
        runner = toy(work_dir, checkpoint=dict(out_dir=str(tmp_path / 'file')))
        runner.train()
    assert runner.iter == 0


class Own(EngineCheckpointHook):
    """Somebody's own hook, which stays."""


@pytest.mark.parametrize(
    'kind', ['CheckpointHook', 'mmengine.CheckpointHook', EngineCheckpointHook, 'instance']
)
def test_wherever_a_config_names_the_hook_it_is_ours(work_dir, kind):
    options = dict(interval=7, save_best='acc')
    given = EngineCheckpointHook(**options) if kind == 'instance' else dict(options, type=kind)
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(options, type='CheckpointHook'))))
    text = cfg.pretty_text
    runner = toy(work_dir, custom_hooks=[Own()], default_hooks=dict(checkpoint=given), cfg=cfg)
    found = [hook for hook in runner.hooks if isinstance(hook, EngineCheckpointHook)]
    assert {type(hook) for hook in found} == {CheckpointHook, Own}
    hook = next(hook for hook in found if type(hook) is CheckpointHook)
    assert hook.interval == 7 and hook.key_indicators == ['acc']
    assert runner.cfg.pretty_text == text


# What mmengine's own hook does, ours does: same files, same pointer, same states.
OPTIONS = dict(
    plain={},
    interval=dict(interval=2),
    iterations=dict(by_epoch=False, interval=3, max_keep_ckpts=1),
    keep=dict(max_keep_ckpts=2),
    template=dict(filename_tmpl='at_{}.pth', max_keep_ckpts=1),
    begin=dict(save_begin=2),
    not_last=dict(interval=2, save_last=False),
    weights_only=dict(save_optimizer=False, save_param_scheduler=False),
    auto=dict(save_best='auto', max_keep_ckpts=1),
    best=dict(save_best='acc', interval=2, rule='less'),
    best_iterations=dict(save_best='acc', by_epoch=False, interval=2),
    only_best=dict(save_best='acc', interval=-1, save_last=False),
    several=dict(save_best=['acc', 'top/1'], rule=['greater', 'less']),
    away=dict(out_dir='away', save_best='acc', max_keep_ckpts=1),
    published=dict(published_keys=['meta', 'state_dict'], save_best='acc'),
)


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_files_and_states_are_those_of_the_stock_hook(tmp_path, options, monkeypatch):
    scores = [{'acc': a, 'top/1': b} for a, b in [(1, 5), (3, 4), (2, 6)]]
    outcome = []
    for name, cls in dict(stock=EngineRunner, ours=Runner).items():
        folder = tmp_path / name / 'run'
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder.parent)
        runner = toy(folder, scores, checkpoint=options, cls=cls)
        runner.train()
        info = {
            key: re.sub('.*/', '', value) if isinstance(value, str) else value
            for key, value in known(runner).items()
            if key.startswith(('best', 'last_ckpt', 'keep'))
        }
        last = folder / 'last_checkpoint'
        text = last.read_text().replace(str(folder.parent), '') if last.is_file() else ''
        contents = {}
        for path in folder.parent.rglob('*.pth'):
            content = torch.load(path, weights_only=False)
            # of a published one the name ends with a digest
            file = re.sub(r'-[0-9a-f]{8}\.pth$', '', str(path.relative_to(folder.parent)))
            counts = {key: content['meta'][key] for key in ('epoch', 'iter')}
            contents[file] = (sorted(content.keys() - {'exact_resume'}), counts)
        outcome.append((contents, info, text))
    assert outcome[0] == outcome[1]
    assert outcome[0][0]


def test_a_training_that_begins_again_keeps_its_folder(tmp_path, work_dir):
    runner = toy(work_dir, epochs=1, checkpoint=dict(out_dir=str(tmp_path / 'away')))
    runner.train()
    runner.call_hook('before_train')
    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert hook.out_dir == str(tmp_path / 'away' / 'run')
    assert names(tmp_path / 'away' / 'run') == {'epoch_1.pth'}


@pytest.fixture
def storage():
    """A storage service: what it holds."""
    content = {}

    @register_backend('storage', force=True, prefixes='storage')
    class Storage(BaseStorageBackend):
        def put(self, obj, filepath):
            content[filepath] = obj

        def get(self, filepath):
            return content[filepath]

        get_text = get

        def join_path(self, path, *more):
            return '/'.join([path, *more])

        def isfile(self, path):
            return path in content

        def isdir(self, path):
            return False

        def remove(self, path):
            del content[path]

    FileClient.register_backend('storage', Storage, force=True, prefixes='storage')
    return content


def test_a_storage_service_is_left_to_mmengine(work_dir, storage):
    options = dict(out_dir='storage://bucket', max_keep_ckpts=1, save_best='acc')
    toy(work_dir, acc(1, 2, 0), checkpoint=options).train()
    here = 'storage://bucket/run'
    assert set(storage) == {f'{here}/epoch_3.pth', f'{here}/best_acc_epoch_2.pth'}
    assert (work_dir / 'last_checkpoint').read_text() == f'{here}/epoch_3.pth'


def test_a_published_checkpoint_that_the_disk_refuses_is_an_error_at_the_end(work_dir):
    options = dict(published_keys=['meta', 'state_dict'])
    runner = toy(work_dir, epochs=1, hooks=[Disk(at_end=True)], checkpoint=options)
    with pytest.raises(Unsaved, match=r'epoch_1-[0-9a-f]{8}.pth .*File too large'):
        runner.train()
    assert names(work_dir) == {'epoch_1.pth'}


class SaveNow(Hook):
    """Saves after each iteration, as a signal or ``save_every`` do."""

    priority = 'LOWEST'

    def __init__(self):
        self.there = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert save_now(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))
        self.there.append(sorted(names(Path(runner.work_dir))))


def test_what_is_saved_between_is_replaced_by_the_next_but_one(work_dir):
    hook = SaveNow()
    toy(work_dir, epochs=2, hooks=[hook]).train()
    assert hook.there == [
        ['iter_1.pth'],
        ['iter_1.pth', 'iter_2.pth'],
        ['epoch_1.pth', 'iter_2.pth', 'iter_3.pth'],
        ['epoch_1.pth', 'iter_3.pth', 'iter_4.pth'],
    ]
    assert names(work_dir) == {'epoch_1.pth', 'epoch_2.pth'} and pointer(work_dir) == 'epoch_2.pth'


def test_what_is_saved_at_an_interval_is_not_saved_again(work_dir):
    hook = SaveNow()
    toy(work_dir, hooks=[hook], checkpoint=dict(by_epoch=False, interval=2)).train()
    assert names(work_dir) == {'iter_2.pth', 'iter_4.pth', 'iter_6.pth'}
    assert hook.there[3] == ['iter_2.pth', 'iter_3.pth', 'iter_4.pth']


def test_a_run_without_checkpoints_can_be_saved_too(work_dir):
    toy(work_dir, epochs=1, custom_hooks=[SaveNow()]).train()
    assert names(work_dir) == {'iter_2.pth'}


def test_a_resumed_run_removes_what_was_saved_between(work_dir):
    hooks = [SaveNow(), Die(KeyboardInterrupt(), 1)]
    with pytest.raises(KeyboardInterrupt):
        EngineRunner.train(toy(work_dir, hooks=hooks))
    assert names(work_dir) == {'iter_1.pth'}
    moved = work_dir.rename(work_dir.parent / 'moved')
    toy(moved, resume=True).train()
    assert names(moved) == {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}


def test_the_best_of_a_work_dir_that_has_moved_is_replaced(work_dir):
    options = dict(save_best='acc')
    toy(work_dir, acc(1), epochs=1, checkpoint=options).train()
    moved = work_dir.rename(work_dir.parent / 'moved')
    runner = toy(moved, acc(2), epochs=2, checkpoint=options, resume=True)
    runner.train()
    assert names(moved) == {'epoch_1.pth', 'epoch_2.pth', 'best_acc_epoch_2.pth'}
    assert not work_dir.exists()


def test_an_abandoned_future_is_overwritten_not_counted(work_dir):
    options = dict(max_keep_ckpts=2)
    toy(work_dir, epochs=5, checkpoint=options).train()
    runner = toy(
        work_dir, epochs=5, checkpoint=options, resume=True, load_from=str(work_dir / 'epoch_4.pth')
    )
    known_then = []

    class See(Hook):
        def before_train(self, runner):
            hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
            hook.keep_ckpt_ids.extend([5])  # as after going back without a restart
            known_then.append(list(hook.keep_ckpt_ids))

    runner.register_hook(See(), priority='LOWEST')
    runner.train()
    assert known_then == [[4, 5]]
    assert names(work_dir) == {'epoch_4.pth', 'epoch_5.pth'}


def test_saving_by_hand_says_what_the_disk_refused(work_dir):
    runner = toy(work_dir)
    runner.train_loop  # noqa: B018  builds the data loader, which a checkpoint describes
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    save = dict(save_param_scheduler=False)
    runner.save_checkpoint(str(work_dir), 'mine.pth', **save)
    before = (work_dir / 'mine.pth').read_bytes()
    with full_disk(), pytest.raises(SaveFailed, match='mine.pth .*File too large'):
        runner.save_checkpoint(str(work_dir), 'mine.pth', **save)
    assert (work_dir / 'mine.pth').read_bytes() == before
    assert names(work_dir) == {'mine.pth'}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)]
    try:
        done = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip('needs the right to mount a small file system')
    yield disk
    subprocess.run(['umount', '-l', str(disk)], check=True)


def test_a_small_disk_that_fills_up(small_disk, capfd):
    work_dir = small_disk / 'run'
    # a checkpoint has 264 kB: three fit, and the best of the second epoch
    with pytest.raises(Unsaved, match='No space left on device') as error:
        toy(work_dir, acc(1, 2, 3, 4), epochs=4, checkpoint=dict(save_best='acc')).train()
    assert 'stands' in str(error.value)
    last = work_dir / pointer(work_dir)
    assert torch.load(last, weights_only=False)['meta']['epoch'] >= 1
    assert not any(name.endswith('.part') for name in names(work_dir))
    for path in work_dir.glob('*.pth'):
        torch.load(path, weights_only=False)
    for path in work_dir.rglob('scalars.json'):
        assert path.read_text().endswith('}\n')


def test_a_disk_that_becomes_read_only(small_disk, work_dir):
    class Remount(Hook):
        def after_train_epoch(self, runner):
            how = 'ro' if runner.epoch + 1 == 2 else 'rw'
            subprocess.run(['mount', '-o', f'remount,{how}', str(small_disk)], check=True)

    runner = toy(work_dir, hooks=[Remount()], checkpoint=dict(out_dir=str(small_disk)))
    runner.train()
    assert names(small_disk / 'run') == {'epoch_1.pth', 'epoch_3.pth'}
    assert known(runner)[FAILED_SAVES] == 1


def test_a_command_whose_last_checkpoint_is_missing_ends_with_a_summary_and_an_error(
    project, monkeypatch, capsys
):
    holds = saving.holds
    monkeypatch.setattr(
        saving, 'holds', lambda path, content: 'epoch_2' not in path.name and holds(path, content)
    )
    assert cli.run(lambda: train('tiny.py')) == 1
    said = capsys.readouterr()
    summary = json.loads((project / 'work_dirs/tiny/summary.json').read_text())
    # after the epoch, and at the end
    assert summary['failed_saves'] == 2 and summary['last_checkpoint'].endswith('epoch_1.pth')
    assert 'failed saves' in said.out
    assert re.search(r'error: training has come to its end, but .*epoch_1.pth stands', said.err)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert cli.run(lambda: train('tiny.py', resume='auto')) == 0
    assert (project / 'work_dirs/tiny/epoch_2.pth').is_file()
