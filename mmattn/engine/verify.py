"""``python -m mmattn data --verify CONFIG``: every image and annotation of a config, beforehand."""

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout
from functools import partial

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from rich import progress
from rich.console import Console

from mmattn.datasets import samples
from mmattn.datasets.folders import members
from mmattn.datasets.layouts import nearest
from mmattn.datasets.reading import Fault, ignore
from mmattn.engine.class_check import reader_of
from mmattn.engine.cli import hush_imports
from mmattn.engine.data_check import check_data
from mmattn.engine.data_root import set_data_root
from mmattn.engine.mistakes import explain_building
from mmattn.engine.prepare import prepare
from mmattn.utils.errors import UserError, one_line
from mmattn.utils.walk import iter_datasets, type_name

LOADERS = ('train', 'val', 'test')
# Samples that a process reads before it reports.
CHUNK = 32


def verify(
    config: str,
    data_root: str | None = None,
    cfg_options: Sequence[str] = (),
    processes: int | None = None,
) -> int:
    """Read every image and annotation of a config's data sets; print a line for each fault.

    Args:
        config, data_root, cfg_options: As those of :func:`mmattn.engine.train.train`.
        processes: How many read; one a core unless told.

    Returns:
        Exit status: 1 if something is wrong, else 0.

    Raises:
        UserError: If the config is wrong, or data that it needs is not there at all.
    """
    hush_imports()
    steps = [data_root and partial(set_data_root, data_root=data_root), _check]
    console = Console(stderr=True)
    faults: Counter[Fault] = Counter()
    started = time.perf_counter()
    # pycocotools and the toolboxes print what they do; standard output is for the faults.
    with redirect_stdout(sys.stderr):
        cfg, notes = prepare(config, cfg_options, steps)
        for note in notes:
            console.print(f'note: {note}', markup=False)
        sets = list(_data_sets(cfg, faults))
    total = sum(len(dataset) for _, dataset in sets)
    columns = progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()
    with progress.Progress('reading', *columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=total)
        for number, found in _read([dataset for _, dataset in sets], processes):
            faults.update(found)
            bar.advance(task, number)
    seconds = time.perf_counter() - started
    for path, what in sorted(faults):
        print(f'{path}: {what}')
    parts = ', '.join(f'{name} {len(dataset):,}' for name, dataset in sets)
    console.print(
        f'{total:,} samples read ({parts}) in {seconds:.1f} s, {total / seconds:.0f} a second; '
        f'{len(faults):,} faults in {len({path for path, _ in faults}):,} files'
    )
    return int(bool(faults))


def _check(cfg: Config) -> list[str]:
    loaders = [name for name in LOADERS if cfg.get(f'{name}_dataloader')]
    if not loaders:
        raise UserError(f'the config has none of {", ".join(f"{n}_dataloader" for n in LOADERS)}.')
    return check_data(cfg, loaders)


def _data_sets(cfg: Config, faults: Counter[Fault]) -> Iterator[tuple[str, BaseDataset]]:
    """The data sets of the loaders, each once; what their annotation files have goes to faults."""
    seen = []
    for loader in LOADERS:
        for dataset in iter_datasets((cfg.get(f'{loader}_dataloader') or {}).get('dataset')):
            # What it leaves out is looked at too.
            config = ConfigDict({**dataset, 'filter_cfg': None})
            reader = reader_of(config, cfg.get('default_scope'))
            if config in seen or not issubclass(reader or BaseDataset, BaseDataset):
                continue
            seen.append(config)
            layout = nearest(members('layout').values(), reader) if reader else None
            try:
                if layout is not None:
                    faults.update(layout.faults(config, reader))
                with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
                    built = registry.build(config)
                ignore(built, cfg.get('model'))
                yield loader, built
            except UserError as error:
                faults[config.get('ann_file') or type_name(config), str(error)] += 1
            except Exception as error:
                mistake = explain_building(error)
                if mistake:
                    raise UserError(mistake) from error
                faults[config.get('ann_file') or type_name(config), one_line(error)] += 1


def _read(
    datasets: Sequence[BaseDataset], processes: int | None
) -> Iterator[tuple[int, list[Fault]]]:
    """Read all samples in several processes; yields how many were read, and what is wrong."""
    workers = processes or _cores()
    # As mmengine's runs do, also where Python (3.14) would begin each process anew: there the
    # toolboxes would be imported again, and print.
    context = multiprocessing.get_context('fork') if sys.platform == 'linux' else None
    start = partial(ProcessPoolExecutor, workers, context, samples.begin, (datasets,))
    with start() as pool:
        waiting: dict[Future, int] = {}
        for index, dataset in enumerate(datasets):
            for first in range(0, len(dataset), CHUNK):
                chunk = range(first, min(first + CHUNK, len(dataset)))
                waiting[pool.submit(samples.read, index, chunk)] = len(chunk)
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise UserError(
                'a process that read samples has died: out of memory, or a file that its decoder '
                'cannot survive.',
                1,
            ) from error


def _cores() -> int:
    # Not everywhere, but then those of a container.
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
