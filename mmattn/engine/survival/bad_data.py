"""What a run does about samples that cannot be used: stop, or go on with others and count.

They are noticed, and replaced, where they are read: :mod:`mmattn.datasets.reading`.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmattn.datasets.reading import HOW_TO_LOOK, KEY, BadData, Fault, ignore
from mmattn.engine.survival.agreement import Agreement
from mmattn.engine.survival.checkpoint_hook import save_now
from mmattn.engine.survival.stopping import SignalHook

# In the message hub, and so in checkpoints: file -> what is wrong, how often it was replaced, in
# which of train, val and test.
RECORD = 'bad_data'

HOW_TO_GO_ON = (
    'Mend or remove it; or add --bad-data skip (in a config survival=dict(bad_data="skip")), which '
    'reads another in its place and counts it. --resume continues the run.'
)


class BadDataHook(Hook):
    """Stop before an iteration whose batch has a bad sample, or count it, as the options say.

    With several processes all of them stop. They compare notes at every training iteration, and
    at the end of a validation or test, in which they need not have equally many iterations.
    """

    # Before any other hook looks at the batch.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._agreement: Agreement | None = None

    def before_train(self, runner: Runner) -> None:
        ignore(runner.train_dataloader.dataset, runner.cfg.get('model'))

    def before_val(self, runner: Runner) -> None:
        ignore(runner.val_dataloader.dataset, runner.cfg.get('model'))

    def before_test(self, runner: Runner) -> None:
        ignore(runner.test_dataloader.dataset, runner.cfg.get('model'))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._decide(runner, 'train', _take(data_batch))

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._later(runner, 'val', data_batch)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._later(runner, 'test', data_batch)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._decide(runner, 'val', self._waiting)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._decide(runner, 'test', self._waiting)

    def _later(self, runner: Runner, part: str, batch: Any) -> None:
        self._waiting += _take(batch)
        if get_world_size() == 1:
            self._decide(runner, part, self._waiting)

    def _decide(self, runner: Runner, part: str, faults: Sequence[Fault]) -> None:
        faults, self._waiting = self._of_all_processes(faults), []
        if not faults:
            return
        options = runner.survival
        if options.bad_data == 'stop':
            self._stop(runner, part, faults, '')
        record = recorded(runner)
        for path, what in faults:
            entry = record.setdefault(path, dict(what=what, times=0, part=part))
            entry['times'] += 1
            runner.logger.warning(f'{path}: {what}; another sample is used in its place')
        runner.message_hub.update_info(RECORD, record)
        bad = sum(entry['part'] == part for entry in record.values())
        size = len(getattr(runner, f'{part}_dataloader').dataset)
        if bad > options.max_bad_data * size:
            limit = f'--max-bad-data is {options.max_bad_data:g}'
            self._stop(runner, part, faults, f'; that makes {bad} of {size} samples, {limit}')

    def _of_all_processes(self, faults: Sequence[Fault]) -> list[Fault]:
        if self._agreement is None:
            self._agreement = Agreement()
        if not self._agreement.least(-len(faults)):
            return []
        return [fault for each in all_gather_object(list(faults)) for fault in each]

    def _stop(self, runner: Runner, part: str, faults: Sequence[Fault], why: str) -> None:
        path, what = faults[0]
        more = len({path for path, _ in faults}) - 1
        others = f' (and {more} more in this batch)' if more else ''
        if part == 'train' and runner.iter:
            # Nothing of the iteration has begun.
            save_now(runner, dict(epoch=runner.epoch, iter=runner.iter))
        if part == 'val':
            for hook in runner.hooks:
                if isinstance(hook, SignalHook):
                    hook.save_in_validation(runner)
        where = f'{part}, iteration {runner.iter + 1}' if part == 'train' else part
        raise BadData(f'{path}: {what}{others}{why} ({where}). {HOW_TO_GO_ON} {HOW_TO_LOOK}')


def recorded(runner: Runner) -> dict[str, dict[str, Any]]:
    """What a run has replaced so far: file -> dict of what, times and part."""
    return dict(runner.message_hub.runtime_info.get(RECORD) or {})


def _take(batch: Any) -> list[Fault]:
    return batch.pop(KEY, []) if isinstance(batch, dict) else []
