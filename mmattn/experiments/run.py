"""Runs the rows of a table, and puts their results beside the paper's."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from mmattn.engine.config import shipped_configs_dir
from mmattn.engine.summary import SUMMARY_FILE
from mmattn.experiments.listing import figure
from mmattn.experiments.rows import Experiment, load_tables
from mmattn.utils.errors import Interrupted, UserError

LAUNCHERS = ('none', 'pytorch', 'slurm')


def tools_dir() -> Path:
    """Folder of train.py: inside the wheel or beside the checkout.

    Raises:
        UserError: If there is none.
    """
    configs = shipped_configs_dir()
    if configs is None or not (configs.parent / 'tools' / 'train.py').is_file():
        raise UserError('tools/train.py is not beside mmattn: install mmattn from a wheel again.')
    return configs.parent / 'tools'


def work_dir_of(experiment: Experiment, demo: bool) -> Path:
    """Demos keep apart from real runs."""
    folder = Path(experiment.work_dir)
    return folder.parent.with_name(folder.parent.name + '_demo') / folder.name if demo else folder


def result_of(experiment: Experiment, demo: bool = False) -> dict[str, float] | None:
    """Column of the paper -> measured figure; None while the row is not finished."""
    path = work_dir_of(experiment, demo) / SUMMARY_FILE
    if not path.is_file():
        return None
    measured = json.loads(path.read_text(encoding='utf-8'))['metrics']
    return figures_of(experiment.table, measured)


def figures_of(table: str, measured: Mapping[str, float]) -> dict[str, float]:
    """Column of a table -> figure, from a run's metrics as its evaluators name them.

    A share is scaled to per cent, as the papers print it.
    """
    found = {}
    for column, name in load_tables()[table].get('metrics', {}).items():
        error, name = name.startswith('100 - '), name.removeprefix('100 - ')
        for key, value in measured.items():
            if key.rsplit('/', 1)[-1] == name:
                # mmdet's averages are shares, mmseg's and mmpretrain's are per cent already.
                value *= 100 if '_mAP' in name else 1
                found[column] = 100 - value if error else value
    return found


def train_command(
    experiment: Experiment, processes: int, demo: bool, options: list[str]
) -> list[str]:
    """The command of a row; an interrupted run is continued.

    Args:
        experiment: The row.
        processes: Above 1, or with several machines set up in the environment, through
            dist_train.sh.
        demo: Train on generated data.
        options: Further options of train.py.
    """
    folder = work_dir_of(experiment, demo)
    words = experiment.arguments()
    config, rest = words[0], words[1:]
    rest[rest.index('--work-dir') + 1] = str(folder)
    if demo:
        rest.insert(0, '--demo')
    if any(folder.glob('*.pth')):
        rest.insert(0, '--resume')
    rest = [*options, *rest]
    if processes > 1:
        return [str(tools_dir() / 'dist_train.sh'), config, str(processes), *rest]
    return [sys.executable, str(tools_dir() / 'train.py'), config, *rest]


def run_rows(
    experiments: list[Experiment], processes: int, demo: bool, options: list[str]
) -> list[str]:
    """Run what is not finished, one after the other.

    Returns:
        Names of the rows that failed; the others go on.

    Raises:
        Interrupted: After Ctrl-C in a run; the same command continues.
    """
    failed = []
    for number, experiment in enumerate(experiments, 1):
        where = f'[{number}/{len(experiments)}] {experiment.table} {experiment.name}'
        if result_of(experiment, demo) is not None:
            print(f'{where}: finished before, skipped', flush=True)
            continue
        command = train_command(experiment, processes, demo, options)
        print(f'{where}: {shlex.join(command)}', flush=True)
        env = {**os.environ, 'PYTHON': sys.executable}
        status = _wait(subprocess.Popen(command, env=env))
        if status == 130:
            raise Interrupted(f'{where}: stopped by Ctrl-C; the same command continues there.')
        if status:
            print(f'{where}: failed with exit status {status}', file=sys.stderr, flush=True)
            failed.append(experiment.name)
    return failed


def _wait(process: subprocess.Popen) -> int:
    """The terminal sends Ctrl-C to the training as well: let it end by itself."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        return 130


def submit_array(
    experiments: list[Experiment], words: list[str], sbatch_args: list[str], demo: bool
) -> str:
    """Submit a Slurm array with a task for each row that is not finished.

    Args:
        experiments: All rows, in the order of the table.
        words: The command that runs row ``--row $SLURM_ARRAY_TASK_ID``.
        sbatch_args: Resources, such as ``--partition=gpu --gres=gpu:1``.
        demo: Whether the rows are demos.

    Raises:
        UserError: If there is nothing to run, or no sbatch.
    """
    open_rows = [i for i, row in enumerate(experiments) if result_of(row, demo) is None]
    if not open_rows:
        raise UserError('every row is finished: nothing to submit.', exit_code=0)
    command = [
        'sbatch',
        f'--array={",".join(map(str, open_rows))}',
        f'--job-name={experiments[0].table}',
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


def print_results(experiments: list[Experiment], demo: bool = False) -> None:
    """Print measured beside the paper's figures; '-' is not measured."""
    name = experiments[0].table
    entry = load_tables()[name]
    columns = list(entry.get('metrics', {}))
    columns = [column for column in entry['columns'] if column in columns]
    table = Table(title=f'{name}: ours / paper', title_justify='left', box=box.SIMPLE_HEAD)
    table.add_column('row', no_wrap=True)
    for column in columns:
        table.add_column(column, justify='right', no_wrap=True)
    done = 0
    for experiment in experiments:
        result = result_of(experiment, demo)
        done += result is not None
        cells = []
        for column in columns:
            ours = (result or {}).get(column)
            left = '-' if ours is None else f'{ours:.2f}'
            cells.append(f'{left} / {figure(experiment.paper[column])}')
        table.add_row(experiment.name, *cells)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    print(f'{done} of {len(experiments)} rows are finished')
