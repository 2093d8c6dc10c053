"""Runs the rows of a table, and puts their results beside the paper's."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from mmattn.engine.config import shipped_configs_dir
from mmattn.engine.summary import SUMMARY_FILE
from mmattn.engine.survival import signals
from mmattn.experiments.listing import figure, table_of_figures
from mmattn.experiments.rows import Experiment, load_tables
from mmattn.utils.errors import Interrupted, UserError, one_line


def tools_dir() -> Path:
    """Folder of train.py: inside the wheel or beside the checkout."""
    configs = shipped_configs_dir()
    if configs is None or not (configs.parent / 'tools' / 'train.py').is_file():
        raise UserError('tools/train.py is not beside mmattn: install mmattn from a wheel again.')
    return configs.parent / 'tools'


def work_dir_of(run: Experiment, demo: bool) -> Path:
    """Demos keep apart from real runs."""
    folder = Path(run.work_dir)
    return folder.parent.with_name(folder.parent.name + '_demo') / folder.name if demo else folder


def result_of(run: Experiment, demo: bool = False) -> dict[str, float] | None:
    """Column of the paper -> measured figure; None while the run is not finished."""
    path = work_dir_of(run, demo) / SUMMARY_FILE
    if not path.is_file():
        return None
    try:
        metrics = json.loads(path.read_text(encoding='utf-8'))['metrics']
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(
            f'{path} is damaged ({one_line(error)}); without it the run is done again.'
        ) from error
    return figures_of(run.table, metrics)


def figures_of(table: str, measured: Mapping[str, float]) -> dict[str, float]:
    """Column of a table -> figure in per cent, from a run's metrics as its evaluators name them."""
    found = {}
    for column, name in load_tables()[table].get('metrics', {}).items():
        error, name = name.startswith('100 - '), name.removeprefix('100 - ')
        for key, value in measured.items():
            if key.rsplit('/', 1)[-1] == name:
                # mmdet's averages are shares, mmseg's and mmpretrain's are per cent already.
                value *= 100 if '_mAP' in name else 1
                found[column] = 100 - value if error else value
    return found


@dataclass(frozen=True)
class How:
    """How every run of a table is trained."""

    processes: int = 1  # of each run, on each machine
    demo: bool = False
    options: Sequence[str] = ()  # of train.py
    cfg_options: Sequence[str] = ()  # beside those of the row


def train_command(run: Experiment, how: How) -> list[str]:
    """The command of a run; an interrupted one is continued.

    Several processes, and several machines set up in the environment (NNODES), go through
    dist_train.sh.
    """
    folder = work_dir_of(run, how.demo)
    config, *rest = run.arguments()
    rest[rest.index('--work-dir') + 1] = str(folder)
    flags = ['--resume'] * any(folder.glob('*.pth')) + ['--demo'] * how.demo
    words = [*how.options, *flags, *rest]
    if how.cfg_options:
        # A row's own are its last words.
        words += ['--cfg-options'] * ('--cfg-options' not in words) + [*how.cfg_options]
    if how.processes > 1 or os.environ.get('NNODES', '1') != '1':
        return [str(tools_dir() / 'dist_train.sh'), config, str(how.processes), *words]
    return [sys.executable, str(tools_dir() / 'train.py'), config, *words]


def run_all(runs: Sequence[Experiment], how: How) -> list[str]:
    """Run what is not finished, one after the other; the names of the runs that failed."""
    failed = []
    for number, run in enumerate(runs, 1):
        where = f'[{number}/{len(runs)}] {run.table} {run.run_name}'
        if result_of(run, how.demo) is not None:
            print(f'{where}: finished before, skipped', flush=True)
            continue
        command = train_command(run, how)
        print(f'{where}: {shlex.join(command)}', flush=True)
        status = train_by(command, where, env={**os.environ, 'PYTHON': sys.executable})
        if status:
            print(f'{where}: failed with exit status {status}', file=sys.stderr, flush=True)
            failed.append(run.run_name)
    return failed


def train_by(command: Sequence[str], where: str, **options: Any) -> int:
    """Run the command of a training; its exit status.

    Args:
        where: What an interruption is said of.
        options: Of ``subprocess.Popen``.

    Raises:
        Interrupted: After a signal, once the training has ended by itself.
    """
    process = subprocess.Popen(command, **options)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # The terminal sends Ctrl-C to the training as well; what schedulers send has come here.
        if signals.state.got not in (0, signal.SIGINT):
            process.send_signal(signals.state.got)
        process.wait()
        status = signals.interrupted().exit_code
    what = signals.stopped_by(status)
    if what is not None:
        message = f'{where}: stopped by {what}; the same command continues there.'
        raise Interrupted(message, status)
    return status


def submit_array(
    runs: Mapping[int, Experiment], words: list[str], sbatch_args: list[str], demo: bool
) -> str:
    """Submit a Slurm array with a task for each run that is not finished; what sbatch says.

    Args:
        runs: Number of a run in the table -> the run.
        words: The command that does run ``--row $SLURM_ARRAY_TASK_ID``.
        sbatch_args: Resources, such as ``--partition=gpu --gres=gpu:1``.
        demo: Whether the runs are demos.
    """
    open_runs = [number for number, run in runs.items() if result_of(run, demo) is None]
    if not open_runs:
        raise UserError('every row is finished: nothing to submit.', exit_code=0)
    command = [
        'sbatch',
        f'--array={",".join(map(str, open_runs))}',
        f'--job-name={next(iter(runs.values())).table}',
        *sbatch_args,
        f'--wrap={shlex.join(words)} --row $SLURM_ARRAY_TASK_ID',
    ]
    if shutil.which('sbatch') is None:
        raise UserError(
            'sbatch is not here; on a machine that submits jobs, run: ' + shlex.join(command)
        )
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'sbatch failed: {done.stderr.strip()} ({shlex.join(command)})')
    return done.stdout.strip()


def print_results(runs: Sequence[Experiment], demo: bool = False) -> None:
    """Print measured beside the paper's figures, '-' where nothing is measured.

    Of several seeds the mean and the (sample) standard deviation.
    """
    name = runs[0].table
    entry = load_tables()[name]
    columns = [column for column in entry['columns'] if column in entry.get('metrics', {})]
    rows: dict[str, list[Experiment]] = {}
    for run in runs:
        rows.setdefault(run.name, []).append(run)
    several = len(rows) < len(runs)
    finished, lines = 0, []
    for row, seeds in rows.items():
        results = [result for run in seeds if (result := result_of(run, demo)) is not None]
        finished += len(results) == len(seeds)
        lines.append([row, *[f'{len(results)} of {len(seeds)}'] * several])
        for column in columns:
            values = [result[column] for result in results if column in result]
            lines[-1].append(f'{_mean(values)} / {figure(seeds[0].paper[column])}')
    ours = 'ours (mean ± standard deviation over seeds)' if several else 'ours'
    header = ['row', *['seeds'] * several, *columns]
    table = table_of_figures(header, lines, title=f'{name}: {ours} / paper')
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print(f'{finished} of {len(rows)} rows are finished')


def _mean(values: list[float]) -> str:
    if not values:
        return '-'
    return f'{mean(values):.2f}' + (f' ± {stdev(values):.2f}' if len(values) > 1 else '')
