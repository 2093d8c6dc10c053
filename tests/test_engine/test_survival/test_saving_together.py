"""Two processes: what the disk refuses the first one, both know."""

import json
import multiprocessing

import torch
from mmengine.hooks import Hook

from mmattn.engine.survival.checkpoint_hook import FAILED_SAVES
from mmattn.engine.survival.saving import Unsaved

from .conftest import Disk, toy


class Spoil(Hook):
    """Fails as a program that is wrong does, in the first process only."""

    def before_save_checkpoint(self, runner, checkpoint):
        raise ZeroDivisionError


def work(rank, folder, hooks):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    scores = [dict(acc=1), dict(acc=2), dict(acc=3)]
    options = dict(save_best='acc', max_keep_ckpts=1)
    runner = toy(folder / 'run', scores, hooks=hooks, checkpoint=options, launcher='none')
    outcome = dict(error='')
    try:
        runner.train()
    except (Unsaved, ZeroDivisionError, RuntimeError) as error:
        outcome['error'] = f'{type(error).__name__}: {error}'
    info = runner.message_hub.runtime_info
    outcome['info'] = {
        key: info.get(key)
        for key in (FAILED_SAVES, 'best_score', 'best_ckpt', 'last_ckpt', 'keep_ckpt_ids')
    }
    (folder / f'{rank}.json').write_text(json.dumps(outcome))


def both(folder, hooks):
    """What each of two processes came to."""
    fork = multiprocessing.get_context('fork')
    # daemons, which end with the tests if they wait for each other
    started = [fork.Process(target=work, args=(i, folder, hooks), daemon=True) for i in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0, 0]
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


def test_all_processes_end_alike(tmp_path):
    disk = Disk(full=[2, 3], full_best=[2, 3], at_end=True)
    first, second = both(tmp_path, [disk])
    assert first == second
    assert first['error'].startswith('Unsaved: ') and 'epoch_3.pth' in first['error']
    info = first['info']
    # epoch 2, its best, epoch 3, its best, epoch 3 once more
    assert info[FAILED_SAVES] == 5 and info['best_score'] == 1
    assert info['last_ckpt'].endswith('epoch_1.pth') and info['keep_ckpt_ids'] == [1]


def test_no_process_waits_for_one_that_failed(tmp_path):
    first, second = both(tmp_path, [Spoil()])
    assert first['error'].startswith('ZeroDivisionError')
    assert second['error'].startswith('RuntimeError')
