"""mmengine's training loops, which can begin in the middle of an epoch."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dist import get_rank
from mmengine.runner import Runner, loops
from torch import nn
from torch.utils.data import DataLoader

from mmattn.engine.survival.data_order import order, samplers
from mmattn.engine.survival.finite import RollBack, go_back
from mmattn.engine.survival.random_state import kept_random_state


class _Placed:
    """What a loop knows of its place in the data.

    Attributes:
        order: The loader's batch sampler; None if its order cannot be told.
        began: The iteration at which the pass over the data has begun, or would have.
    """

    runner: Runner
    dataloader: DataLoader
    began = 0

    def _order(self) -> None:
        self.order = order(self.dataloader, self.runner.seed, get_rank())

    def _from_place(self, epoch: int) -> Iterator[Any]:
        """The batches of a pass from where the loop stands; those before it are not read."""
        begin = self._iter - self.began
        if self.order is None:
            return islice(self.dataloader, begin, None)
        # For hooks that read the same loader for themselves, it begins at the beginning.
        self.order.epoch, self.order.begin = epoch, begin
        batches, self.order.begin = iter(self.dataloader), 0
        return batches

    def run(self) -> nn.Module:
        """Train; begins with a validation that the run before has not come to.

        Goes back to a checkpoint where :class:`FiniteHook` says so, as if resumed from it.
        """
        while True:
            try:
                return self._run()
            except RollBack as error:
                checkpoint = error.checkpoint
            go_back(self.runner, checkpoint)

    def validate_if_due(self) -> None:
        if self.runner.val_loop is not None and self.validation_is_due():
            self.runner.val_loop.run()

    def _validate_after_resuming(self) -> None:
        """Do the validation before which, or in which, the run has ended."""
        self._decide_current_val_interval()
        if self._iter and self.runner.exact_resume.validation_is_missing(self.runner):
            self.validate_if_due()


class EpochBasedTrainLoop(_Placed, loops.EpochBasedTrainLoop):
    """Training by epochs (see mmengine's loop)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._order()

    def _run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self._validate_after_resuming()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            self.validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train an epoch, or what is left of it."""
        begin = self._iter - self.began
        # What is done once more when an epoch is resumed leaves no trace.
        with kept_random_state():
            self.runner.call_hook('before_train_epoch')
            self.runner.model.train()
            batches = self._from_place(self._epoch)
        for idx, data_batch in enumerate(batches, begin):
            self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.began = self._iter

    def validation_is_due(self) -> bool:
        if self._iter > self.began or self._epoch < self.val_begin:
            return False
        return self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs

    def place(self, meta: dict) -> tuple[int, int]:
        """Pass over the data, and batches of it that are done, of a checkpoint with this meta."""
        in_epoch = meta['epoch'] == self._epoch
        return meta['epoch'], meta['iter'] - self.began if in_epoch else 0

    def go_to(self, epoch: int, position: int) -> None:
        """Begin there; the loop's epoch and iteration are set already."""
        self.began = self._iter - position


class IterBasedTrainLoop(_Placed, loops.IterBasedTrainLoop):
    """Training by iterations (see mmengine's loop)."""

    def __init__(
        self, runner: Runner, dataloader: DataLoader | dict, *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(dataloader, dict):
            varied = runner._randomness_cfg.get('diff_rank_seed', False)
            dataloader = runner.build_dataloader(dataloader, runner.seed, varied)
        super().__init__(runner, _Unread(dataloader), *args, **kwargs)
        self.dataloader = dataloader
        self._pass = 0
        self._order()

    def _run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self._validate_after_resuming()
        with kept_random_state():
            self.runner.call_hook('before_train_epoch')
        self.dataloader_iterator = self._passes()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            self.validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _passes(self) -> Iterator[Any]:
        """The batches of one pass over the data after the other, without end."""
        while True:
            with kept_random_state():
                for sampler in samplers(self.dataloader.batch_sampler):
                    if hasattr(type(sampler), 'set_epoch'):
                        sampler.set_epoch(self._pass)
                batches = self._from_place(self._pass)
            yield from batches
            if self._iter == self.began:
                return  # the loader is empty
            self._pass += 1
            self.began = self._iter

    def validation_is_due(self) -> bool:
        if self._iter < self.val_begin:
            return False
        return self._iter % self.val_interval == 0 or self._iter == self._max_iters

    def place(self, meta: dict) -> tuple[int, int]:
        """Pass over the data, and batches of it that are done, of a checkpoint with this meta."""
        return self._pass, meta['iter'] - self.began

    def go_to(self, epoch: int, position: int) -> None:
        """Begin there; the loop's iteration is set already."""
        self._pass, self.began = epoch, self._iter - position


class _Unread:
    """Stands for a loader where mmengine 0.10.7 would begin to read it: in ``__init__``."""

    def __init__(self, loader: DataLoader) -> None:
        self.dataset = loader.dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(())
