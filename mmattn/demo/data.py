"""Writes the data sets that a config reads, small and generated, in their own formats."""

import copy
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console
from rich.progress import Progress

from mmattn import __version__
from mmattn.datasets.demos import DemoSplit, find_format
from mmattn.demo.dataset_configs import build_unloaded, loaders, make_paths, redirect
from mmattn.demo.tasks import Task
from mmattn.utils.walk import iter_datasets

# How long a process waits for the first one of its machine, in seconds.
PATIENCE = 60


def generate(cfg: Config, task: Task, size: tuple[int, int], seed: int) -> Path:
    """Write the data sets of a config, unless they are there.

    The first process of every machine writes into a folder of its own, which gets its
    name once it is complete: on a shared disk the first machine's stays. The other
    processes wait for it, and write themselves if it does not come.

    Args:
        cfg: Its loaders say what to write, its ``work_dir`` where; not changed.
        task: How much.
        size: Width and height of the images in pixels.
        seed: Of the images.

    Returns:
        The folder; what is in it follows from the arguments.
    """
    leaves = [leaf for _, loader in loaders(cfg) for leaf in iter_datasets(loader['dataset'])]
    paths = [{key: leaf[key] for key in leaf if key != 'pipeline'} for leaf in leaves]
    stamp = hashlib.sha256(repr((__version__, paths, task, size, seed)).encode()).hexdigest()
    folder = Path(cfg['work_dir'], 'demo_data', stamp[:8]).absolute()
    deadline = time.monotonic() + PATIENCE
    while os.environ.get('LOCAL_RANK', '0') != '0' and time.monotonic() < deadline:
        if folder.is_dir():
            break
        time.sleep(0.1)
    if folder.is_dir():
        return folder
    own = folder.with_name(f'.{uuid.uuid4().hex}')
    own.mkdir(parents=True)
    try:
        _write(copy.deepcopy(cfg), own, task, size, seed)
        own.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another machine was faster
            raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return folder


def _write(cfg: Config, folder: Path, task: Task, size: tuple[int, int], seed: int) -> None:
    """Write all splits below a folder; the config is changed."""
    redirect(cfg, folder)
    written: set[str] = set()
    with _progress(task.train_images + 2 * task.val_images) as advance:
        for name, loader in loaders(cfg):
            leaves = list(iter_datasets(loader['dataset']))
            images = task.val_images
            if name == 'train_dataloader':
                images = task.train_images // len(leaves)
            for leaf in leaves:
                make_paths(leaf)
                dataset = build_unloaded(leaf, cfg['default_scope'])
                key = _key(dataset, folder)
                if key not in written:
                    written.add(key)
                    split = DemoSplit(key, images, size, task.style, seed, advance)
                    find_format(type(dataset)).write(dataset, split)


def _key(dataset: object, folder: Path) -> str:
    """Names the files that a dataset reads, independent of where the folder lies."""
    paths = [str(getattr(dataset, 'ann_file', '') or ''), str(getattr(dataset, 'split', ''))]
    paths += [str(value) for _, value in sorted(dataset.data_prefix.items())]
    return '|'.join(path.replace(str(folder), '') for path in paths)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call once an image is done; shows a bar on the first process's terminal."""
    console = Console(stderr=True)
    shown = console.is_terminal and is_main_process()
    with Progress(console=console, disable=not shown) as progress:
        bar = progress.add_task('generating images', total=total)
        yield lambda: progress.advance(bar)
