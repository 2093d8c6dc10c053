"""Checkpoints that hold all that decides the next step, and going on from them as if never ended.

mmengine's hold the model, the optimizer with its loss scaler, the schedulers, and averaged
weights. Here come the random states of all ranks, the place in the data, gradients that are
not applied yet, buffers in which ranks differ, and what hooks and modules keep in attributes.
"""

from collections import Counter, deque
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from mmengine.dist import gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn

from mmattn.engine.survival.data_order import keeps_images, samplers
from mmattn.engine.survival.random_state import random_state, seed_from, set_random_state

# Where a checkpoint holds them.
KEY = 'exact_resume'
# Attributes that decide later steps, by the class of a hook or module that leaves them out of
# its state; classes of others name theirs in an attribute ``resumed_attributes``.
ATTRIBUTES = {
    'EarlyStoppingHook': ['best_score', 'wait_count'],
    'SyncBuffersHook': ['called_in_train'],
    'BatchSyncRandomResize': ['_input_size'],
    'DropBlock': ['iter_cnt'],
    'FiniteHook': ['_in_a_row'],
    'DynamicRoIHead': [
        'iou_history',
        'beta_history',
        'bbox_assigner.pos_iou_thr',
        'bbox_assigner.neg_iou_thr',
        'bbox_assigner.min_pos_iou',
        'bbox_head.loss_bbox.beta',
    ],
}


class ExactResumeHook(Hook):
    """Puts the states into checkpoints, and back from there into a run that is resumed."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._ranks: list[dict] | None = None  # the states of all ranks, in the first
        self._found: dict | None = None  # those of the checkpoint that was loaded last
        self._random: dict | None = None  # the random states to begin the training with
        self._outside: dict | None = None  # those of the training, during a validation
        self._validated = -1  # after how many iterations the last validation ended
        self._resumed = False

    def collect(self, runner: Runner) -> None:
        """Bring the states of all ranks to the first, before it saves; every rank calls it."""
        state = dict(
            random=self._outside or random_state(),
            attributes=_attributes(runner),
            gradients=_gradients(_model(runner)),
            buffers={},
        )
        if get_world_size() > 1:
            state['buffers'] = {name: each.cpu() for name, each in _buffers(runner).items()}
        self._ranks = gather_object(state) or []
        own = self._ranks[0]['buffers'] if self._ranks else {}
        for each in self._ranks:
            differ = {k: v for k, v in each['buffers'].items() if not torch.equal(v, own[k])}
            each['buffers'] = differ

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = checkpoint['meta']
        for key in ('message_hub', 'param_schedulers'):
            if key in checkpoint:
                checkpoint[key] = plain(checkpoint[key])
        checkpoint[KEY] = dict(
            ranks=self._ranks,
            data=_data(runner, meta),
            validated=self._validated == meta['iter'],
        )
        self._ranks = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._found = checkpoint.pop(KEY, None)
        hub = checkpoint.get('message_hub')
        if isinstance(hub, dict):
            hub['log_scalars'] = {k: _history(v) for k, v in hub['log_scalars'].items()}

    def resume(self, runner: Runner, checkpoint: str) -> None:
        """Put back what the checkpoint that mmengine has resumed from holds beyond its own.

        What cannot be as it would have been is said in one warning.
        """
        found, self._found = self._found, None
        self._outside = None  # of a validation that was broken off, if this run goes back
        if not found:
            loop = runner.train_loop
            if hasattr(loop, 'go_to'):
                begun = isinstance(loop, EpochBasedTrainLoop)
                loop.go_to(runner.epoch, 0 if begun else runner.iter)
            runner.logger.warning(
                f'{checkpoint} holds neither random states nor the place in the data, as those '
                'of mmattn.Runner do: the run goes on, but differs from one without a break.'
            )
            return
        ranks, rank = found['ranks'], get_rank()
        # A rank that is new has random numbers of its own.
        state = ranks[rank] if rank < len(ranks) else dict(ranks[0], random=None, buffers={})
        self._random = state['random'] or dict(new=rank)
        self._validated, self._resumed = runner.iter if found['validated'] else -1, True
        weights = dict(_model(runner).named_parameters())
        for name, gradient in state['gradients'].items():
            weights[name].grad = gradient.to(weights[name].device)
        buffers = _buffers(runner)
        for name, buffer in state['buffers'].items():
            buffers[name].copy_(buffer)
        differences = [
            *_set_attributes(runner, state['attributes']),
            *_go_to(runner, found['data']),
        ]
        if differences:
            runner.logger.warning(
                f'resumed from {checkpoint}, but not exactly: {"; ".join(differences)}.'
            )

    def before_train(self, runner: Runner) -> None:
        state, self._random = self._random, None
        if state is None:
            return
        if 'new' in state:
            seed_from(runner.seed, state['new'], runner.iter)
        else:
            set_random_state(state)

    def before_val(self, runner: Runner) -> None:
        self._outside = random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self._validated = runner.iter

    def after_val(self, runner: Runner) -> None:
        # Whether there was a validation makes no difference to the training.
        set_random_state(self._outside)
        self._outside = None

    def validation_is_missing(self, runner: Runner) -> bool:
        """Whether the run was resumed from a checkpoint that is older than its validation."""
        missing = self._resumed and self._validated != runner.iter
        self._resumed = False
        return missing


def plain(value: Any) -> Any:
    """Nested dicts and lists with nothing in them but tensors, numbers and strings.

    Histories of logged numbers become dicts, arrays and sets lists.
    """
    if isinstance(value, HistoryBuffer):
        # Bits, since not all devices that a checkpoint is loaded to have float64.
        history = (
            torch.from_numpy(each.astype(np.float64)).view(torch.int64) for each in value.data
        )
        return dict(history=list(history), max_length=value.max_length)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, set, frozenset, deque)):
        return [plain(item) for item in value]
    return tuple(map(plain, value)) if type(value) is tuple else value


def _history(value: Any) -> Any:
    """Undo :func:`plain` of a history; others, as older checkpoints hold them, stay."""
    if not isinstance(value, dict):
        return value
    numbers = (bits.cpu().view(torch.float64).numpy() for bits in value['history'])
    return HistoryBuffer(*numbers, max_length=value['max_length'])


def _model(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    """Those that the next step is going to apply: in the middle of an accumulation."""
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    if not any(gradient.any() for gradient in found.values()):
        return {}
    return {name: gradient.cpu() for name, gradient in found.items()}


def _buffers(runner: Runner) -> dict[str, Tensor]:
    """The buffers of the model and of averaged ones (EMAHook)."""
    averaged = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
    return {
        f'{number}.{name}': buffer
        for number, model in enumerate([_model(runner), *averaged])
        for name, buffer in model.named_buffers()
    }


def _stateful(runner: Runner) -> Iterator[tuple[str, Any, list[str]]]:
    """Hooks and modules with attributes that belong in a checkpoint: name, object, attributes."""
    # Counted by class, since another command line registers other hooks besides.
    numbers: Counter[str] = Counter()
    hooks = []
    for hook in runner.hooks:
        name = type(hook).__name__
        hooks.append((f'{name} {numbers[name]}', hook))
        numbers[name] += 1
    for name, each in [*hooks, *_model(runner).named_modules()]:
        names = [name for cls in type(each).__mro__ for name in ATTRIBUTES.get(cls.__name__, ())]
        names += getattr(type(each), 'resumed_attributes', ())
        if names:
            yield name, each, names


def _attributes(runner: Runner) -> dict[str, dict[str, Any]]:
    return {
        name: {attribute: plain(attrgetter(attribute)(each)) for attribute in attributes}
        for name, each, attributes in _stateful(runner)
    }


def _set_attributes(runner: Runner, states: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Set them; yields what is not as it was."""
    found = {name: each for name, each, _ in _stateful(runner)}
    for name, state in states.items():
        if name not in found:
            yield f'{name}, whose state is in it, is not in the run'
            continue
        for attribute, value in state.items():
            owner, _, last = attribute.rpartition('.')
            setattr(attrgetter(owner)(found[name]) if owner else found[name], last, value)


def _data(runner: Runner, meta: dict) -> dict | None:
    """The place in the data of a checkpoint, and on what it depends; None in unknown loops."""
    loop = runner.train_loop
    if not hasattr(loop, 'place'):
        return None
    epoch, position = loop.place(meta)
    return dict(
        epoch=epoch,
        position=position,
        seeds=[sampler.seed for sampler in _seeded(loop)],
        processes=get_world_size(),
        **_sizes(loop),
    )


def _sizes(loop: Any) -> dict[str, int]:
    batches, dataset = loop.dataloader.batch_sampler, loop.dataloader.dataset
    size = getattr(batches, 'batch_size', None)
    return dict(
        samples=len(dataset) if hasattr(dataset, '__len__') else 0,
        # mmdet's multi-source samplers have one for each source
        batch_size=sum(size) if isinstance(size, (list, tuple)) else size or 1,
    )


def _seeded(loop: Any) -> list[Any]:
    found = samplers(loop.dataloader.batch_sampler)
    return [each for each in found if isinstance(vars(each).get('seed'), int)]


def _go_to(runner: Runner, data: dict | None) -> Iterator[str]:
    """Set the loop to a place in the data; yields what is not as it was."""
    loop = runner.train_loop
    if data is None or not hasattr(loop, 'go_to'):
        yield f'{type(loop).__name__} does not know its place in the data'
        return
    here = dict(processes=get_world_size(), **_sizes(loop))
    for name, what in dict(
        processes='{} processes instead of {}, with other batches and random numbers',
        batch_size='batches of {} instead of {}',
        samples='{} samples instead of {}, in another order',
    ).items():
        if here[name] != data[name]:
            yield what.format(here[name], data[name])
    then, now = (each['batch_size'] * each['processes'] for each in (data, here))
    loop.go_to(data['epoch'], data['position'] * then // now)
    for sampler, seed in zip(_seeded(loop), data['seeds'], strict=False):
        sampler.seed = seed
    if loop.order is None:
        yield "the loader has no batch sampler: it reads what it skips, with torch's random numbers"
    else:
        loop.order.seed = loop.dataloader.dataset.__getitems__.seed = runner.seed
    caching = keeps_images(loop.dataloader.dataset)
    if caching:
        yield f'{" and ".join(caching)} begin without the images they had kept'
