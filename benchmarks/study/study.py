"""Does attention help? The same recipe with and without it, five seeds, real data.

    python benchmarks/study/study.py --data DIR             # about 8 hours on two cores
    nohup nice python benchmarks/study/study.py --data DIR --commit > study.log 2>&1 &
    python benchmarks/study/study.py --data DIR --hours 1   # then the same command again
    python benchmarks/study/study.py --status

DIR holds bccd/, camvid/ and cifar10_jpeg/ ('python -m mmattn data' says where they come from).
The runs go round by round: every network with seed 0, then with seed 1 and so on, so that
whatever is there can be compared. Finished runs are skipped, an interrupted one continues from
its last checkpoint, and no run is begun that would probably not end within --hours. What is kept
of a run lies in results/: its summary, its config, its scalars, the score of every image and its
log, compressed. tools/analysis_tools/compare_runs.py results/ compares them.
"""

import argparse
import gzip
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmattn.analysis.per_image import score_run
from mmattn.analysis.runs import PER_IMAGE_FILE, read_runs
from mmattn.engine.summary import SUMMARY_FILE, describe_seconds
from mmattn.experiments.run import train_by
from mmattn.utils.errors import UserError, run
from mmattn.utils.files import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE / 'results'
ATTENTIONS = ('none', 'SE', 'ECA', 'CBAM', 'CA', 'SCSA', 'SimAM', 'ELA')
SEEDS = range(5)
# Config -> folder of its data, attentions; those of the classifiers are in the configs.
TASKS = {
    'bccd': ('bccd', ATTENTIONS),
    'camvid': ('camvid', ATTENTIONS),
    'cifar10_res2net29': ('cifar10_jpeg', ('none',)),
    'cifar10_seres2net29': ('cifar10_jpeg', ('SE',)),
}
# Of a run that nothing is known of.
MINUTES = 8


@dataclass(frozen=True)
class Run:
    """One network, trained once."""

    task: str
    attention: str
    seed: int

    @property
    def name(self) -> str:
        return f'{self.task}_{self.attention.lower()}_seed{self.seed}'

    @property
    def kept(self) -> Path:
        return RESULTS / self.name

    def is_finished(self) -> bool:
        return (self.kept / SUMMARY_FILE).is_file()

    def adds_attention(self) -> bool:
        """Whether the task's config is without the attention."""
        return self.attention != 'none' and len(TASKS[self.task][1]) > 1

    def config(self) -> str:
        """The config of the run: the task's, and what is its own."""
        lines = [f"_base_ = ['../../{self.task}.py']"]
        if self.adds_attention():
            attention = f"dict(_delete_=True, type='{self.attention}')"
            lines.append(f'model = dict(backbone=dict(attention={attention}))')
        return '\n'.join([*lines, f'randomness = dict(seed={self.seed})\n'])

    def command(self, data: Path, work_dir: Path) -> list[str]:
        folder = TASKS[self.task][0]
        words = [str(HERE.parents[1] / 'tools' / 'train.py'), str(HERE / f'{self.task}.py')]
        words += ['--data-root', str(data / folder), '--work-dir', str(work_dir)]
        words += ['--seed', str(self.seed)]
        if any(work_dir.glob('*.pth')):
            words.append('--resume')
        if self.adds_attention():
            words += ['--cfg-options', f'model.backbone.attention.type={self.attention}']
        return [sys.executable, *words]


def all_runs(tasks: list[str]) -> Iterator[Run]:
    for seed in SEEDS:
        for task in tasks:
            for attention in TASKS[task][1]:
                yield Run(task, attention, seed)


def parse_args() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--data', type=Path, metavar='DIR', help='folder of the data sets')
    parser.add_argument('--hours', type=float, default=8.0, help='the budget; default 8')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    parser.add_argument('--work-dirs', type=Path, default=Path('work_dirs/study'), metavar='DIR')
    parser.add_argument('--commit', action='store_true', help='commit each result as it comes')
    parser.add_argument('--status', action='store_true', help='only say what is there')
    args = parser.parse_args()
    if args.data is None and not args.status:
        parser.error('--data DIR is needed')
    return args


def minutes_of(task: str) -> float:
    """What a run of a task takes: the median of those that are finished."""
    paths = RESULTS.glob(f'{task}_*/{SUMMARY_FILE}')
    seconds = [json.loads(path.read_text())['seconds'] for path in paths]
    return statistics.median(seconds) / 60 if seconds else MINUTES


def keep(done: Run, work_dir: Path) -> None:
    """What results/ holds of a run: no weights, and no paths of this machine."""
    (trained,), _ = read_runs([work_dir])
    score_run(trained)
    summary = dict(trained.summary)
    for name in ('best_checkpoint', 'last_checkpoint', 'command'):
        summary.pop(name)
    summary.update(config=done.task, work_dir=done.name)
    shutil.rmtree(done.kept, ignore_errors=True)
    text = '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))
    text = text.replace(str(Path.cwd()), '.')
    write_whole(done.kept / f'{done.task}.py', done.config())
    shutil.copy(work_dir / PER_IMAGE_FILE, done.kept)
    write_whole(done.kept / 'log.gz', gzip.compress(text.encode(), mtime=0))
    scalars = ''.join(json.dumps(entry) + '\n' for entry in trained.scalars)
    write_whole(done.kept / 'vis_data' / 'scalars.json', scalars)
    # Last: it says that the run is finished.
    write_whole(done.kept / SUMMARY_FILE, json.dumps(summary, indent=1) + '\n')


def commit(done: Run) -> None:
    paths = ['--', str(done.kept)]
    subprocess.run(['git', '-C', str(HERE), 'add', *paths], check=True)
    message = f'Study: {done.name}'
    subprocess.run(['git', '-C', str(HERE), 'commit', '-q', '-m', message, *paths], check=True)


def print_status(tasks: list[str]) -> None:
    for task in tasks:
        runs = list(all_runs([task]))
        finished = [one for one in runs if one.is_finished()]
        left = (len(runs) - len(finished)) * minutes_of(task) * 60
        print(f'{task:22}{len(finished):3} of {len(runs)} runs, {describe_seconds(left)} to go')


def main() -> None:
    args = parse_args()
    print_status(args.tasks)
    if args.status:
        return
    for folder in sorted({TASKS[task][0] for task in args.tasks}):
        if not (args.data / folder).is_dir():
            raise UserError(f'{args.data / folder} is not there: --data is the folder above it')
    end = time.monotonic() + args.hours * 3600
    failed = []
    for one in all_runs(args.tasks):
        if one.is_finished():
            continue
        if time.monotonic() + minutes_of(one.task) * 60 > end:
            print(f'{one.name} would not end within {args.hours:g} h; the same command goes on.')
            break
        work_dir = args.work_dirs / one.name
        command = one.command(args.data, work_dir)
        print(f'{time.strftime("%H:%M")} {shlex.join(command[1:])}', flush=True)
        work_dir.mkdir(parents=True, exist_ok=True)
        with open(work_dir / 'output.txt', 'ab') as output:
            status = train_by(command, one.name, stdout=output, stderr=output)
        if status or not (work_dir / SUMMARY_FILE).is_file():
            failed.append(one.name)
            print(f'{one.name} failed with exit status {status}: {work_dir / "output.txt"}')
            continue
        keep(one, work_dir)
        shutil.rmtree(work_dir)
        if args.commit:
            commit(one)
    print_status(args.tasks)
    if failed:
        raise UserError(f'{len(failed)} runs failed: {", ".join(failed)}', 1)


if __name__ == '__main__':
    sys.exit(run(main))
