"""The checkpoint hook: an older checkpoint goes only once a newer one stands."""

import hashlib
import os.path as osp
import pickle
from collections import deque
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as EngineCheckpointHook
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import _load_checkpoint, save_checkpoint

from mmattn.engine.distributed import on_first
from mmattn.engine.resume import POINTER
from mmattn.engine.survival.saving import BACKEND, SaveFailed, Unsaved, is_local, on_disk
from mmattn.utils.errors import UserError
from mmattn.utils.files import remove_parts, told, write_whole

# What the message hub, and so every checkpoint, knows: how many saves have failed, and the paths
# of checkpoints between the intervals that are there still.
FAILED_SAVES, PASSING = 'failed_saves', 'passing_ckpt'


def save_now(runner: Runner, meta: dict[str, int]) -> bool:
    """Save between the intervals, as ``iter_N.pth``, which the next checkpoint but one replaces.

    So a checkpoint that is damaged later costs one interval at most.

    Every process calls it; the config's checkpoint hook does it, or a new one if it has none.

    Args:
        meta: ``epoch`` and ``iter``: how many are done.

    Returns:
        Whether the checkpoint stands; if not, that has been reported.
    """
    hook = next((each for each in runner.hooks if isinstance(each, CheckpointHook)), None)
    if hook is None:
        hook = CheckpointHook(save_last=False)
        hook.before_train(runner)
        runner.register_hook(hook)
    return hook.save_now(runner, meta)


def lose_nothing(hooks: Iterable[Hook]) -> None:
    """Make hooks of mmengine's own class :class:`CheckpointHook`; whoever made them, and how."""
    for hook in hooks:
        if type(hook) is EngineCheckpointHook:
            hook.__class__ = CheckpointHook


class CheckpointHook(EngineCheckpointHook):
    """mmengine's hook, which loses no checkpoint.

    An older checkpoint, the previous best one too, is deleted only once what replaces it has
    been written and verified. A disk that is full or fails ends no run: it is reported, the
    next interval tries again, and if the last checkpoint is missing at the end, after one more
    attempt, the run ends with an error. Arguments, files and states are mmengine's.
    """

    # Of the class, since :func:`lose_nothing` calls no __init__.
    _outdated: frozenset[str] = frozenset()  # what the next checkpoint replaces
    _given: tuple[str | None, ...] = ()  # the config's out_dir
    _missing = ''  # what the disk refused last, if nothing has replaced it

    def before_train(self, runner: Runner) -> None:
        """Find the folder (see mmengine's hook), and clear what processes that died left there.

        Raises:
            UserError: If nothing can be written there.
        """
        # mmengine's adds the work dir's name to it each time; a run that goes back begins again.
        self._given = self._given or (self.out_dir,)
        (self.out_dir,) = self._given
        super().before_train(runner)
        if not self._is_local:
            return
        on_first(partial(self._clear, runner))
        # The folder may have moved since the checkpoint was written.
        known = runner.message_hub.runtime_info
        for metric in self.key_indicators if self.save_best else ():
            path = known.get(self._named('best_ckpt', metric))
            if path and osp.isfile(here := self._path(osp.basename(path))):
                runner.message_hub.update_info(self._named('best_ckpt', metric), here)
                self._note_best(metric, here)

    def after_train(self, runner: Runner) -> None:
        """Try the last checkpoint once more if it failed; publish (see mmengine's hook)."""
        if self._missing:
            count = runner.epoch if self.by_epoch else runner.iter
            self._save_checkpoint_with_step(runner, count, _done(runner))
        if not self._missing:
            # What a training ends with is not what it passed on its way.
            self._outdated |= {*self._passing(runner)}
            self._delete_outdated(runner)
        super().after_train(runner)

    def after_run(self, runner: Runner) -> None:
        """Say at the end that the last checkpoint could not be written.

        Raises:
            Unsaved: In every process.
        """
        if self._missing:
            missing, self._missing = self._missing, ''
            stands = f'{self.last_ckpt} stands' if self.last_ckpt else 'there is no other'
            raise Unsaved(
                f'training has come to its end, but what it ends with is missing: {missing} '
                f'{stands}; once there is room, the same command with --resume does the rest '
                'again.'
            )

    def save_now(self, runner: Runner, meta: dict[str, int]) -> bool:
        """Save between the intervals (see :func:`save_now`)."""
        name = f'iter_{meta["iter"]}.pth'
        if self.last_ckpt == self._path(name):
            return True
        return self._save_last(runner, name, meta, {}, by_epoch=False, passing=True)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        info, outdated = {}, []
        if self.max_keep_ckpts > 0:
            # What is ahead is of a training that was abandoned, and will be overwritten.
            steps = [*(each for each in self.keep_ckpt_ids if each < step), step]
            info['keep_ckpt_ids'] = steps[-self.max_keep_ckpts :]
            outdated = map(self.filename_tmpl.format, steps[: -self.max_keep_ckpts])
        options = dict(
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            by_epoch=self.by_epoch,
            **self.args,
        )
        name = self.filename_tmpl.format(step)
        if self._save_last(runner, name, meta, info, map(self._path, outdated), **options) and info:
            self.keep_ckpt_ids = deque(info['keep_ckpt_ids'], self.max_keep_ckpts)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        unit, count = ('epoch', runner.epoch) if self.by_epoch else ('iter', runner.iter)
        options = dict(save_optimizer=False, save_param_scheduler=False, by_epoch=False)
        known, updated = runner.message_hub.runtime_info, False
        for metric, rule in zip(self.key_indicators, self.rules, strict=True):
            score_key, path_key = (self._named(x, metric) for x in ('best_score', 'best_ckpt'))
            score, previous = metrics[metric], known.get(path_key)
            best = known.get(score_key, self.init_value_map[rule])
            if score is None or not self.is_better_than[metric](score, best):
                continue
            name = f'best_{metric}_{self.filename_tmpl.format(count)}'.replace('/', '_')
            info = {score_key: score, path_key: self._path(name)}
            if self._save(runner, name, _done(runner), info, **options):
                continue
            updated = True
            self._note_best(metric, self._path(name))
            self._outdated |= {previous} - {None}
            runner.logger.info(
                f'The best checkpoint with {score:0.4f} {metric} at {count} {unit} is saved to '
                f'{name}.'
            )
        if updated and self.last_ckpt is None:
            self._delete_outdated(runner)
        elif updated:
            # A run that is resumed has to know the new one; until it does, the old one stays.
            self._save_checkpoint_with_step(runner, count, _done(runner))

    def _save_last(
        self,
        runner: Runner,
        name: str,
        meta: dict,
        info: dict,
        outdated: Iterable[str] = (),
        passing: bool = False,
        **options: Any,
    ) -> bool:
        """Save a checkpoint to continue from, and delete what it replaces once it stands."""
        path = self._path(name)
        *older, previous = self._passing(runner) or [None]
        outdated = [*outdated, *older]
        stay = [previous] if previous not in (None, path) else []
        stay += [path] if passing else []
        info = dict(info, last_ckpt=path, **{PASSING: stay})
        self._missing = self._save(runner, name, meta, info, **options)
        if self._missing:
            return False
        self.last_ckpt = path
        self._outdated |= {*outdated}
        if is_main_process():
            try:
                write_whole(Path(runner.work_dir, POINTER), path)
            except UserError as error:  # a run that resumes finds the checkpoint without it
                runner.logger.warning(str(error))
        self._delete_outdated(runner)
        return True

    def _passing(self, runner: Runner) -> list[str]:
        """Paths of the checkpoints between the intervals; the folder may have moved since."""
        known = runner.message_hub.runtime_info.get(PASSING) or ()
        return [self._path(osp.basename(each)) for each in known]

    def _save(self, runner: Runner, name: str, meta: dict, info: dict, **options: Any) -> str:
        """Save a checkpoint with ``info`` in its message hub; say what went wrong, or ''."""
        known = runner.message_hub.runtime_info
        before = {key: known[key] for key in info if key in known}
        for key, value in info.items():
            runner.message_hub.update_info(key, value)
        target = dict(file_client_args=self.file_client_args, backend_args=self.backend_args)
        try:
            runner.save_checkpoint(self.out_dir, name, meta=dict(meta), **target, **options)
        except SaveFailed as error:
            for key in info:
                del known[key]
            known.update(before)
            runner.message_hub.update_info(FAILED_SAVES, known.get(FAILED_SAVES, 0) + 1)
            runner.logger.error(
                f'{error} The checkpoints before it stay; training goes on, and the next interval '
                'tries again.'
            )
            return str(error)
        return ''

    def _delete_outdated(self, runner: Runner) -> None:
        known = runner.message_hub.runtime_info
        stay = {path for key, path in known.items() if key.startswith('best_ckpt')}
        outdated, self._outdated = self._outdated - stay - {self.last_ckpt}, frozenset()
        if not is_main_process():
            return
        for path in sorted(outdated):
            try:
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)
            except OSError as error:
                runner.logger.warning(f'{path} could not be deleted: {error.strerror or error}.')

    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        if not self._is_local:
            super()._publish_model(runner, ckpt_path)
            return
        try:
            on_disk(partial(self._publish, runner, ckpt_path))
        except SaveFailed as error:
            self._missing = str(error)

    def _publish(self, runner: Runner, ckpt_path: str) -> None:
        checkpoint = _load_checkpoint(ckpt_path, map_location='cpu')
        removed = [key for key in checkpoint if key not in self.published_keys]
        for key in removed:
            del checkpoint[key]
        digest = hashlib.sha256(pickle.dumps(checkpoint)).hexdigest()
        path = f'{osp.splitext(ckpt_path)[0]}-{digest[:8]}.pth'
        save_checkpoint(checkpoint, path, backend_args=dict(backend=BACKEND))
        runner.logger.info(f'{ckpt_path} is published to {path} without {removed}.')

    def _clear(self, runner: Runner) -> None:
        """Remove unfinished files, and see whether new ones can be written."""
        with told(f'{self.out_dir}, the folder of the checkpoints,'):
            for folder in {self.out_dir, runner.work_dir}:
                for part in remove_parts(folder):
                    runner.logger.info(f'{part}, left by a process that died, is removed.')
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.out_dir):
                pass

    def _path(self, name: str) -> str:
        return self.file_backend.join_path(self.out_dir, name)

    def _named(self, what: str, metric: str) -> str:
        """Under which the message hub knows the best score or checkpoint of a metric."""
        return what if len(self.key_indicators) == 1 else f'{what}_{metric}'

    def _note_best(self, metric: str, path: str) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = path
        else:
            self.best_ckpt_path_dict[metric] = path

    @property
    def _is_local(self) -> bool:
        return is_local(self.out_dir, self.file_client_args, self.backend_args)


def _done(runner: Runner) -> dict[str, int]:
    """The epochs and iterations that are done, where the loops have counted them."""
    return dict(epoch=runner.epoch, iter=runner.iter)
