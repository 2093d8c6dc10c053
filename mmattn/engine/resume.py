"""Choosing the checkpoint that a run continues from, and saying how it is continued."""

import argparse
import os.path as osp
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmattn.engine.distributed import on_first, say
from mmattn.utils.checkpoints import check_checkpoint, read_stream, require_file
from mmattn.utils.errors import UserError

# In the work dir: the path of the checkpoint that was written last.
POINTER = 'last_checkpoint'
NAMES = (r'epoch_(\d+)\.pth', r'iter_(\d+)\.pth')
# What mmengine needs to continue from a checkpoint.
PARTS = ('state_dict', 'message_hub', 'meta')
NO_OPTIMIZER = 'it holds no state of the optimizer (a best checkpoint?)'
# Checkpoints of another model after which no more are read.
MOST_MISFITS = 3
# Seconds after which it is said that a checkpoint is being read.
SILENT = 2

Shapes = Mapping[str, tuple[int, ...]]


class _Outline(NamedTuple):
    """What a checkpoint says of itself; ``problem``: why no run continues from it, or None."""

    problem: str | None
    iteration: int = 0
    saved: str = ''  # when; in the order of time
    shapes: Shapes = {}


def choose_checkpoint(cfg: Config, resume: str | None) -> list[str]:
    """Set ``resume`` and ``load_from`` of a config; return notes on the choice.

    ``resume`` becomes 'auto' if it was this function that chose, so that the runner, which
    knows the model, may choose again (:func:`continue_from`).
    """
    if resume is None:
        if cfg.get('load_from'):
            check_checkpoint(cfg.load_from, 'load_from')
        return []
    if resume == 'auto':
        path, notes = on_first(partial(find_resumable, cfg.work_dir))
    else:
        path, notes = resume, on_first(partial(_check_given, resume))
    if path is None:
        cfg.resume = False
        return [*notes, f'--resume: {cfg.work_dir} holds no checkpoint; the run starts anew.']
    cfg.resume, cfg.load_from = resume if resume == 'auto' else True, path
    return [*notes, f'continues from {path}.']


def continue_from(runner: Runner) -> None:
    """Set what a runner that is told to resume loads, before it does.

    Raises:
        UserError: In every process, if a checkpoint is named that cannot be used, or those
            that there are belong to another model.
    """
    if runner._has_loaded or not runner._resume:
        return
    if runner._load_from is not None and runner._resume != 'auto':
        for note in on_first(partial(_check_given, runner._load_from)):
            runner.logger.warning(note)
        return
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    path, notes = on_first(partial(find_resumable, runner.work_dir, shapes))
    if path is None:
        notes.append(f'{runner.work_dir} holds no checkpoint; the run starts anew.')
    if path is None or path != runner._load_from:  # otherwise it has been said
        for note in notes:
            runner.logger.warning(note)
    runner._resume, runner._load_from = path is not None, path


def how_to_continue(runner: Runner, where: str) -> str:
    """What to tell the user of a run that has stopped before its end, after where it has."""
    path, _ = find_resumable(runner.work_dir)
    if path is None:
        return f'{where}, before the first checkpoint was written: there is nothing to continue.'
    command = 'the same command with --resume'
    if not runner.distributed:
        parser = argparse.ArgumentParser(add_help=False)
        parser.add_argument('--resume', nargs='?')
        parser.add_argument('--overwrite', action='store_true')
        _, words = parser.parse_known_args(sys.argv[1:])
        command = shlex.join([sys.argv[0], *words, '--resume'])
    return f'{where}. To continue from {osp.basename(path)}: {command}'


def first_sound(paths: Iterable[str]) -> str | None:
    """The first of several files that a run can continue from."""
    return next((path for path in paths if _read(Path(path)).problem is None), None)


def find_resumable(work_dir: str, shapes: Shapes | None = None) -> tuple[str | None, list[str]]:
    """Find the newest sound checkpoint of a work dir; all of what is considered is read.

    The newest is the one that ``last_checkpoint`` names, unless another was saved later and
    after more iterations: a run may have died before it wrote that file, and it may have been
    taken back to an earlier checkpoint, with later ones still there. The path in the file may
    be stale (the work dir was moved).

    Args:
        shapes: Those of the model's weights; a checkpoint with others is passed over.

    Returns:
        Path of the checkpoint (None if there is no sound one) and notes on what was passed
        over, and why.

    Raises:
        UserError: If the only sound ones are those of another model.
    """
    named, groups = _candidates(Path(work_dir))
    outlines: dict[Path, _Outline] = {}
    passed: dict[Path, str] = {}
    misfits = 0
    for paths in ([named] if named else [], *groups):
        for path in (path for path in paths if path not in passed):
            outline = outlines.get(path) or _read(path)
            problem = outline.problem
            if problem is None and shapes is not None and outline.shapes != shapes:
                problem, misfits = _difference(outline.shapes, shapes), misfits + 1
            if problem is None:
                outlines[path] = outline
                break
            passed[path] = f'{path.name} is passed over: {problem}.'
            if misfits == MOST_MISFITS:
                break
    notes = [*passed.values()]
    if not outlines and misfits:
        raise UserError(
            f'no checkpoint in {work_dir} fits the model. {" ".join(notes)} Give the config that '
            'they were written with, or another --work-dir, or name one: --resume FILE.'
        )
    if not outlines:
        return None, notes
    newest = max(outlines, key=lambda path: (outlines[path].saved, outlines[path].iteration))
    if named in outlines and outlines[named].iteration >= outlines[newest].iteration:
        newest = named
    for path, outline in outlines.items():
        if outline.iteration > outlines[newest].iteration:
            notes.append(f'{path.name} is there too, but was saved before {newest.name}.')
    return str(newest), notes


def _candidates(folder: Path) -> tuple[Path | None, list[list[Path]]]:
    """What ``last_checkpoint`` names, and lists of all, by kinds of names, the last one first."""
    pointer, named, names = folder / POINTER, None, NAMES
    text = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    if text:
        # First here: the stored absolute folder is wrong once the work dir has moved.
        named = folder / osp.basename(text)
        away = Path(text).parent
        # Where mmengine puts the checkpoints of this work dir if the hook has an out_dir.
        if not osp.isfile(named) and away.name == folder.absolute().name and osp.isdir(away):
            named, folder = Path(text), away
        if not any(re.fullmatch(name, named.name) for name in names):  # filename_tmpl
            start, _, end = re.fullmatch(r'(.*?)(\d*)(\D*)', named.name).groups()
            names = (*names, rf'{re.escape(start)}(\d+){re.escape(end)}')
    files = [path for path in folder.glob('*') if path.is_file()] if folder.is_dir() else []
    groups = []
    for name in names:
        numbers = {path: re.fullmatch(name, path.name) for path in files}
        numbers = {path: int(match[1]) for path, match in numbers.items() if match}
        groups.append(sorted(numbers, key=numbers.get, reverse=True))
    return named, groups


def _check_given(path: str) -> list[str]:
    """Raise a :class:`UserError` unless a run can continue from a file (URLs pass); notes."""
    if '://' in path:
        return []
    problem = _read(require_file(path, '--resume')).problem
    if problem == NO_OPTIMIZER:
        return [f'{path}: {problem}; its momentum starts anew.']
    if problem:
        raise UserError(f'--resume {path!r} cannot be continued from: {problem}.')
    return []


def _read(path: Path) -> _Outline:
    if not osp.isfile(path):  # False for a name that is none, where Path.is_file raises
        return _Outline('it does not exist')
    state = path.stat()
    return _read_once(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_once(path: Path, size: int, changed: int) -> _Outline:
    """Read all of a file, for its checksums, but keep none of its weights."""
    try:
        with _patience(path, size), open(path, 'rb') as stream:
            data = read_stream(stream, str(path), location='meta', lenient=True)
    except OSError as error:
        return _Outline(f'it cannot be read: {error.strerror or error}')
    except UserError as error:
        return _Outline(f'it {error.__cause__ or error}')
    missing = [part for part in PARTS if not isinstance(_get(data, part), Mapping)]
    meta = _get(data, 'meta')
    missing += [name for name in ('epoch', 'iter') if not isinstance(_get(meta, name), int)]
    if missing:
        return _Outline(f'it is no checkpoint of a training: no {", ".join(missing)} in it')
    # Unless its run saves none.
    saves_optimizer = 'save_optimizer=False' not in str(meta.get('cfg'))
    problem = NO_OPTIMIZER if saves_optimizer and 'optimizer' not in data else None
    shapes = {key: tuple(getattr(v, 'shape', ())) for key, v in data['state_dict'].items()}
    return _Outline(problem, meta['iter'], str(meta.get('time', '')), shapes)


def _get(data: Any, name: str) -> Any:
    return data.get(name) if isinstance(data, Mapping) else None


@contextmanager
def _patience(path: Path, size: int) -> Iterator[None]:
    """Say what takes long."""
    timer = Timer(SILENT, say, [[f'reading {path.name} ({size / 1e9:.1f} GB) to check it ...']])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _difference(there: Shapes, own: Shapes) -> str:
    """How a checkpoint differs from the model."""
    same = sum(there.get(key) == shape for key, shape in own.items())
    other = next(key for key in [*own, *there] if own.get(key) != there.get(key))
    return (
        f'it is of another model: {same} of {len(own)} weights are the same; {other} is '
        f'{there.get(other, "not in it")} instead of {own.get(other, "not there")}'
    )
