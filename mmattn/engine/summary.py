"""What a run begins with: a few lines; what it ends with: one table."""

import json
import os.path as osp
import shlex
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.markup import escape

from mmattn.engine.distributed import say
from mmattn.engine.survival.bad_data import recorded
from mmattn.engine.survival.checkpoint_hook import FAILED_SAVES
from mmattn.engine.survival.finite import ROLLBACKS
from mmattn.environment import processor, revision, versions
from mmattn.registry import MODELS
from mmattn.utils.files import write_whole

# In the work dir of a run that came to its end.
SUMMARY_FILE = 'summary.json'
# Files that the table names.
SHOWN = 5
TASKS = {'mmdet': 'detection', 'mmseg': 'segmentation', 'mmpretrain': 'classification'}


@dataclass
class RunSummary:
    """Outcome of a training or test run; metrics as the evaluators name them."""

    config: str
    task: str
    attention: str
    work_dir: str
    seconds: float
    progress: str = ''
    metrics: dict[str, float] = field(default_factory=dict)
    best_metric: str | None = None
    best_score: float | None = None
    best_checkpoint: str | None = None
    last_checkpoint: str | None = None
    first_iteration_seconds: float | None = None
    bad_data: dict[str, str] = field(default_factory=dict)  # file -> what is wrong with it
    replaced_samples: int = 0  # how often another sample was read in place of one of these
    failed_saves: int = 0  # checkpoints that the disk refused
    rollbacks: list[dict[str, Any]] = field(default_factory=list)  # iterations, files and reason
    seed: int | None = None
    command: str = ''
    processes: int = 1
    machine: str = ''
    versions: dict[str, str] = field(default_factory=dict)
    revision: str | None = None  # of mmattn's checkout


def describe_task(cfg: Config) -> str:
    """Name the task of a config's toolbox, e.g. 'detection (mmdet)'."""
    scope = cfg.get('default_scope') or 'mmengine'
    return f'{TASKS[scope]} ({scope})' if scope in TASKS else scope


def describe_attention(cfg: Config) -> str:
    """Name the attention of a config's backbone, e.g. 'SCSA' or 'SE (stages 3, 4)'."""
    model = cfg.get('model') or {}
    # wrappers (distillers, test-time augmentation, multi-branch detectors) hold the model inside
    for key in ('module', 'detector', 'architecture'):
        model = model.get(key) or model if isinstance(model.get(key), dict) else model
    backbone = model.get('backbone') or {}
    named = 'attention' in backbone
    entries = (backbone['attention'] if named else _default(backbone.get('type'))) or []
    entries = [entries] if isinstance(entries, dict) else entries
    return ' + '.join(map(_one, [*entries, *(backbone.get('plugins') or [])])) or 'none'


def _default(kind: str | type | None) -> dict | None:
    """The attention that a backbone has where its config names none, such as SERes2Net's SE."""
    if isinstance(kind, str):
        name = kind.removeprefix('mmattn.')
        ours = name != kind and name in MODELS.names_in('mmattn.backbones')
        kind = MODELS.get(name) if ours else None
    return getattr(kind, 'default_attention', None)


def _one(entry: dict) -> str:
    kind = entry.get('cfg', entry).get('type', '?')
    name = kind if isinstance(kind, str) else kind.__name__
    extra = [entry['position']] if entry.get('position') else []
    if entry.get('stages'):
        stages = (str(number) for number, on in enumerate(entry['stages'], 1) if on)
        extra.append(f'stages {", ".join(stages)}')
    return name + (f' ({"; ".join(extra)})' if extra else '')


def print_start(config: str, cfg: Config, notes: Iterable[str]) -> None:
    """Say what is going to run."""
    say([f'config    {config}', f'task      {describe_task(cfg)}'])
    say([f'attention {describe_attention(cfg)}', f'work dir  {cfg.work_dir}'])
    say(f'note: {note}' for note in notes)


def describe_seconds(seconds: float) -> str:
    """Write a duration as people do: '42 s', '3 min 20 s', '2 h 05 min'."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f'{minutes // 60} h {minutes % 60:02d} min'
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def write_summary(summary: RunSummary) -> None:
    """Write the outcome as json into the work dir; the file is whole or not there."""
    text = json.dumps(asdict(summary), indent=1, default=float) + '\n'
    write_whole(Path(summary.work_dir, SUMMARY_FILE), text)


def print_summary(summary: RunSummary, title: str) -> None:
    """Print the table to standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify='left', show_header=False)
    table.add_column(style='bold', no_wrap=True)
    table.add_column(overflow='fold')
    last = summary.last_checkpoint
    rows = [
        ('config', summary.config),
        ('task', summary.task),
        ('attention', summary.attention),
        ('trained', summary.progress or None),
        *summary.metrics.items(),
        (f'best {summary.best_metric}', summary.best_score),
        ('best checkpoint', summary.best_checkpoint),
        ('last checkpoint', None if last == summary.best_checkpoint else last),
        ('replaced samples', _replaced(summary)),
        ('rollbacks', len(summary.rollbacks) or None),
        ('failed saves', summary.failed_saves or None),
        ('work dir', summary.work_dir),
        ('time', describe_seconds(summary.seconds)),
    ]
    for name, value in rows:
        if value is not None:
            shown = f'{value:.4g}' if isinstance(value, float) else str(value)
            table.add_row(name, shown, style='bold' if name == summary.best_metric else None)
    # in a log file or pipe paths stay on one line, to be copied
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)


def _replaced(summary: RunSummary) -> str | None:
    bad = [f'{path} ({what})' for path, what in summary.bad_data.items()]
    if not bad:
        return None
    more = f' and {len(bad) - SHOWN} more in {SUMMARY_FILE}' if len(bad) > SHOWN else ''
    return escape(f'{summary.replaced_samples}, of {", ".join(bad[:SHOWN])}{more}')


class RecordHook(Hook):
    """Remember metrics for the summary, and log how long the start took.

    Args:
        started: ``time.time()`` at the start of the command; None for now.
    """

    def __init__(self, started: float | None = None) -> None:
        self.started = time.time() if started is None else started
        self.first_iteration_seconds: float | None = None
        self.metrics: dict[str, float] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.first_iteration_seconds is None:
            seconds = self.first_iteration_seconds = time.time() - self.started
            runner.logger.info(f'first training iteration starts {seconds:.1f} s after the command')

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = dict(metrics or {})

    after_test_epoch = after_val_epoch


def summarise(config: str, runner: Runner, record: RecordHook) -> RunSummary:
    """The outcome of a run that has come to its end."""
    known, bad = runner.message_hub.runtime_info, recorded(runner)
    counts = [_counted(runner.epoch, 'epoch'), _counted(runner.iter, 'iteration')]
    by_iter = 'Iter' in type(runner._train_loop).__name__
    save_best = ((runner.cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    return RunSummary(
        config=config,
        task=describe_task(runner.cfg),
        attention=describe_attention(runner.cfg),
        work_dir=runner.work_dir,
        seconds=time.time() - record.started,
        progress='' if not runner.iter else counts[1] if by_iter else ', '.join(counts),
        metrics=record.metrics,
        best_metric=save_best if isinstance(save_best, str) else None,
        best_score=known.get('best_score'),
        best_checkpoint=_moved_here(known.get('best_ckpt'), runner.work_dir),
        last_checkpoint=_moved_here(known.get('last_ckpt'), runner.work_dir),
        first_iteration_seconds=record.first_iteration_seconds,
        rollbacks=known.get(ROLLBACKS, []),
        bad_data={path: entry['what'] for path, entry in bad.items()},
        replaced_samples=sum(entry['times'] for entry in bad.values()),
        failed_saves=known.get(FAILED_SAVES, 0),
        seed=runner.seed,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        processes=runner.world_size,
        machine=processor(get_device() if torch.cuda.is_available() else 'cpu'),
        versions=versions(),
        revision=revision(),
    )


def _counted(number: int, what: str) -> str:
    return f'{number} {what}{"" if number == 1 else "s"}'


def _moved_here(path: str | None, work_dir: str) -> str | None:
    """A resumed run knows the paths of where it began; prefer the file in this work dir."""
    here = osp.join(work_dir, osp.basename(path or ''))
    return here if osp.isfile(here) else path
