"""Turns any config into a demo of itself."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from mmattn.utils.walk import iter_datasets, iter_dicts

from .dataset_configs import build_unloaded, dataset_class, loaders, relocate, wrappers
from .formats import Format, Part, cifar, find_format
from .formats.base import class_names
from .schedule import set_optimizer, shorten
from .scratch import fewer_regions, from_scratch
from .sizes import scale_sizes, test_size
from .tasks import TASKS, Task

DATA_FOLDER = 'demo_data'
STAMP = 'generated.txt'
# How long a process waits for the one that generates the data, in seconds.
PATIENCE = 300
PIPELINES = ('train_pipeline', 'test_pipeline', 'tta_pipeline')


def make_demo(cfg: Config, work_dir: str, seed: int = 0) -> tuple[Config, list[str]]:
    """Generates data for a config and shortens the config to match.

    The files lie in `<work_dir>/demo_data` in the format and under the relative names that the
    config reads. The heads keep their number of classes, so that the checkpoint fits the config
    as it was; only the first few classes occur in the pictures. With several processes a machine
    the first one generates and the others wait.

    Args:
        cfg: a config of mmdet, mmseg or mmpretrain; not changed.
        work_dir: where the run keeps its files.
        seed: of the data and of the training.

    Returns:
        The changed copy, and lines that say what was replaced.

    Raises:
        ValueError: the config has no default_scope, or a dataset type for which no data can be
            generated.
    """
    cfg = copy.deepcopy(cfg)
    scope = cfg.get('default_scope')
    if not scope:
        raise ValueError('the config sets no default_scope (mmdet, mmseg or mmpretrain)')
    forms = _formats(cfg, scope)
    task = _task_of(cfg, forms)
    factor, size = _sizes(cfg, task, forms)
    base = Path(work_dir, DATA_FOLDER).absolute()
    stamp = _fingerprint(cfg, task, size, seed)
    generate = _must_generate(base, stamp)
    notes = _replace_data(cfg, scope, task, size, seed, base, generate)
    if generate:
        (base / STAMP).write_text(stamp)
    _scale(cfg, factor)
    if factor != 1:
        notes.append(f'images of {size[0]}x{size[1]}; all sizes times {factor:.3g}')
    _set_loaders(cfg, task)
    notes += from_scratch(cfg, scope)
    notes += fewer_regions(cfg['model'])
    notes += shorten(cfg, task)
    notes += set_optimizer(cfg, task)
    cfg['randomness'] = {**(cfg.get('randomness') or {}), 'seed': seed}
    return cfg, notes


def _formats(cfg: Config, scope: str) -> list[Format]:
    if not cfg.get('train_dataloader'):
        raise ValueError('the config has no train_dataloader: nothing to train in a demo')
    return [
        find_format(dataset_class(leaf, scope))
        for _, loader in loaders(cfg)
        for leaf in iter_datasets(loader['dataset'])
    ]


def _task_of(cfg: Config, forms: list[Format]) -> Task:
    """The size of the demo, with no more categories than the dataset has classes."""
    names = sorted({form.task for form in forms})
    if len(names) > 1:
        raise ValueError(f'the data loaders serve different tasks: {", ".join(names)}')
    task = TASKS[names[0]]
    counts = [head['num_classes'] for head in iter_dicts(cfg['model']) if 'num_classes' in head]
    with_classes = min([count for count in counts if isinstance(count, int)], default=None)
    if with_classes is None:
        return task
    categories = min(task.style.categories, with_classes)
    stuff = min(task.style.stuff, max(categories - 1, 0))
    style = dataclasses.replace(task.style, categories=categories, stuff=stuff)
    return dataclasses.replace(task, style=style)


def _sizes(cfg: Config, task: Task, forms: list[Format]) -> tuple[float, tuple[int, int]]:
    """The factor for all sizes of the config, and width and height of the generated images."""
    fixed = next((form.size for form in forms if form.size), None)
    if fixed:
        return 1.0, fixed
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or cfg['train_dataloader']
    native = test_size(next(iter_datasets(loader['dataset'])).get('pipeline') or [])
    side = min(task.side, min(native)) if native else task.side
    return (side / min(native) if native else 1.0), (round(side * task.aspect), side)


def _fingerprint(cfg: Config, task: Task, size: tuple[int, int], seed: int) -> str:
    parts = [repr(leaves_of) for _, leaves_of in loaders(cfg)]
    text = repr((parts, task, size, seed))
    return hashlib.sha256(text.encode()).hexdigest()


def _must_generate(base: Path, stamp: str) -> bool:
    """Whether this process generates the data; if another one does, returns once it has."""
    file = base / STAMP
    local_rank = os.environ.get('LOCAL_RANK') or os.environ.get('SLURM_LOCALID') or '0'
    deadline = time.monotonic() + PATIENCE
    while not (file.is_file() and file.read_text() == stamp):
        if local_rank == '0':
            if base.exists():
                shutil.rmtree(base)
            base.mkdir(parents=True)
            return True
        if time.monotonic() > deadline:
            raise TimeoutError(f'process 0 has not generated {base} within {PATIENCE} s')
        time.sleep(0.2)
    return False


def _replace_data(
    cfg: Config,
    scope: str,
    task: Task,
    size: tuple[int, int],
    seed: int,
    base: Path,
    generate: bool,
) -> list[str]:
    """Points every data set and evaluator at generated files, and writes those."""
    roots: dict[str, str] = {}
    moved: dict[str, str] = {}
    written: set[str] = set()
    notes: list[str] = []
    train = cfg['train_dataloader']['dataset']
    shares = {'train_dataloader': len(list(iter_datasets(train)))}
    total = task.train_images + 2 * task.val_images
    with _progress(total, generate) as advance:
        for name, loader in loaders(cfg):
            for leaf in iter_datasets(loader['dataset']):
                old = _join(leaf.get('data_root'), leaf.get('ann_file'))
                leaf.pop('indices', None)
                relocate(leaf, roots, base)
                moved[old] = _join(leaf['data_root'], leaf.get('ann_file'))
                dataset = build_unloaded(leaf, scope)
                form = find_format(type(dataset))
                key = _part_key(dataset, base)
                images = task.train_images if name == 'train_dataloader' else task.val_images
                part = Part(key, images // shares.get(name, 1), size, task.style, seed, advance)
                if generate and key not in written:
                    form.write(dataset, part)
                written.add(key)
                if form.adapt:
                    notes += form.adapt(dataset, leaf, task.style.categories)
                if form is cifar.FORMAT:
                    _import_also(cfg, cifar.MODULE)
                if not notes or not notes[0].startswith('data:'):
                    notes.insert(0, _data_note(dataset, task, base))
            for wrapper in wrappers(loader['dataset']):
                if 'times' in wrapper:
                    wrapper['times'] = 1
    for name in ('val', 'test'):
        _move_evaluator(cfg.get(f'{name}_evaluator'), cfg.get(f'{name}_dataloader'), moved)
    return list(dict.fromkeys(notes))


def _data_note(dataset: object, task: Task, base: Path) -> str:
    names = class_names(dataset) if dataset.metainfo.get('classes') else []
    # ImageNet's names are lists of synonyms.
    names = [name.split(',')[0] for name in names[: task.style.categories]]
    shown = ', '.join(names) or f'{task.style.categories} classes'
    return (
        f'data: {task.train_images} training and {task.val_images} validation images generated '
        f'in {base}; they show {shown}'
    )


def _part_key(dataset: object, base: Path) -> str:
    """Names the files that a dataset reads, independent of where the work dir lies."""
    paths = [str(getattr(dataset, 'ann_file', '') or ''), str(getattr(dataset, 'split', ''))]
    paths += [str(value) for _, value in sorted(dataset.data_prefix.items())]
    return '|'.join(path.replace(str(base), '') for path in paths)


def _join(root: str | None, path: str | None) -> str:
    return str(PurePosixPath(root or '', path or ''))


def _move_evaluator(evaluator: object, loader: dict | None, moved: dict[str, str]) -> None:
    """Points an evaluator's annotation files at the generated ones."""
    for config in iter_dicts(evaluator):
        if config.get('ann_file'):
            leaf = next(iter_datasets(loader['dataset']))
            config['ann_file'] = moved.get(
                str(PurePosixPath(config['ann_file'])), _join(leaf['data_root'], leaf['ann_file'])
            )


def _import_also(cfg: Config, module: str) -> None:
    """Imports a module now and whenever the changed config is loaded."""
    imports = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    names = imports['imports']
    names = [names] if isinstance(names, str) else list(names)
    if module not in names:
        names.append(module)
    cfg['custom_imports'] = dict(imports, imports=names)
    # Config files import these when they are loaded; this one is loaded already.
    import_module(module)


def _scale(cfg: Config, factor: float) -> None:
    for _, loader in loaders(cfg):
        for dataset in [*wrappers(loader['dataset']), *iter_datasets(loader['dataset'])]:
            scale_sizes(dataset.get('pipeline') or [], factor)
            limits = dataset.get('filter_cfg') or {}
            for key in ('min_size', 'bbox_min_size'):
                if limits.get(key):
                    limits[key] = int(limits[key] * factor)
    for key in PIPELINES:
        scale_sizes(cfg.get(key) or [], factor)
    model = cfg['model']
    for node in (cfg.get('data_preprocessor'), model.get('data_preprocessor')):
        scale_sizes(node or {}, factor)
    scale_sizes(model.get('test_cfg') or {}, factor)
    backbone = model.get('backbone') or {}
    if 'img_size' in backbone:
        image = {'img_size': backbone['img_size']}
        scale_sizes(image, factor)
        backbone.update(image)


def _set_loaders(cfg: Config, task: Task) -> None:
    """Batch size and workers for a small data set and two cores."""
    for name, loader in loaders(cfg):
        loader['num_workers'] = 1
        loader['persistent_workers'] = True
        if name == 'train_dataloader':
            loader['batch_size'] = task.batch_size
            if not loader.get('batch_sampler'):
                # A batch of one image would leave batch norm without a spread.
                loader['drop_last'] = True
        loader.pop('num_batch_per_epoch', None)


@contextmanager
def _progress(total: int, generate: bool) -> Iterator[object]:
    """Yields what to call once an image is done; shows a bar on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not (generate and console.is_terminal)) as progress:
        bar = progress.add_task('generating images', total=total)
        yield lambda: progress.advance(bar)
