"""Kill trainings, damage their checkpoints, take their disk away: what is lost?

    python benchmarks/chaos/chaos.py            # all of it, into benchmarks/results/chaos.md
    python benchmarks/chaos/chaos.py --quick    # a tenth, and nothing is written

A classifier, a detector and a segmenter, each of some seconds, are trained without a break first.
Then they are killed at random moments, in the middle of a save on a slow disk, one of two
processes of theirs; they get SIGTERM; their newest checkpoint is cut off, changed in a bit,
emptied or put in another's place; their disk fills up, or is read-only. Each is started
again by the same command until it ends. Counted is what did not come to its end, what ended with
other weights than without a break, and how many iterations were lost at most.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from data import make_data
from rich.progress import Progress
from runs import BEGUN, ENDED, ITERATION, Trial, board, final_weights, identical

from mmattn.engine.resume import find_resumable
from mmattn.engine.summary import SUMMARY_FILE, describe_seconds
from mmattn.environment import processor, versions
from mmattn.utils.errors import UserError, run
from mmattn.utils.files import write_whole

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / 'results'
TASKS = ('classifier', 'detector', 'segmenter')
INTERVAL = 2  # iterations between two checkpoints, of the configs
ITERATIONS = 12
# Kinds of trials -> how many of them.
TRIALS = {'SIGKILL': 30, 'SIGKILL while saving': 12, 'SIGKILL of one of two': 8, 'SIGTERM': 25}
DAMAGES = {'cut off': 10, 'a bit changed': 10, 'emptied': 10, 'swapped': 10}
KILLS_OF_A_RUN = 5


@dataclass
class Outcome:
    """What came of one kind of trial."""

    name: str
    trials: int = 0
    survived: int = 0
    identical: int = 0
    lost: int = 0  # iterations at most
    note: str = ''
    hits: list[int] = field(default_factory=list)  # iterations that were done
    failures: list[str] = field(default_factory=list)


class Chaos:
    """The trials, in a folder that holds the data."""

    def __init__(self, folder: Path, share: float, advance: Callable[[str], None]) -> None:
        self.folder, self.share, self.advance = folder, share, advance
        self.random = random.Random(0)
        self.count = 0
        self.whole: dict[tuple[str, int], dict[str, torch.Tensor]] = {}

    def trial(self, task: str, ranks: int = 1, where: Path | None = None, **options) -> Trial:
        self.count += 1
        folder = (where or self.folder / 'runs') / f'{self.count:03}_{task}'
        log = self.folder / 'runs' / f'{self.count:03}_{task}.log'
        return Trial(HERE / 'configs' / f'{task}.py', folder, log, ranks, **options)

    def reference(self, task: str, ranks: int = 1) -> None:
        """Train without a break."""
        one = self.trial(task, ranks)
        self.finish(one)
        self.whole[task, ranks] = final_weights(one.work_dir)

    def finish(self, one: Trial) -> None:
        one.start()
        one.wait()
        if any(one.statuses):
            raise RuntimeError(f'exit status {one.statuses}: {one.log}')

    def judge(self, outcome: Outcome, one: Trial) -> None:
        """Start a run for the last time, and compare what it ends with."""
        try:
            self.finish(one)
        except (RuntimeError, TimeoutError) as error:
            outcome.failures.append(str(error))
            return
        outcome.survived += 1
        task = one.config.stem
        if identical(final_weights(one.work_dir), self.whole[task, one.ranks]):
            outcome.identical += 1
            shutil.rmtree(one.work_dir)
        else:
            outcome.failures.append(f'other weights: {one.log}')

    def signals(self, name: str, number: int, **options) -> Outcome:
        """Runs that get several signals each, at random moments or while they save."""
        outcome, left = Outcome(name), max(1, round(TRIALS[name] * self.share))
        while left:
            task = TASKS[self.count % len(TASKS)]
            one = self.trial(task, **options)
            if (task, one.ranks) not in self.whole:
                self.reference(task, one.ranks)
            kills = 0
            while kills < min(KILLS_OF_A_RUN, left) and self.hit(one, number, outcome):
                kills += 1
                self.advance(name)
            left -= kills
            outcome.trials += kills
            before = outcome.survived, outcome.identical
            self.judge(outcome, one)
            # Each hit counts for what its run has come to.
            outcome.survived = before[0] + kills * (outcome.survived - before[0])
            outcome.identical = before[1] + kills * (outcome.identical - before[1])
        return outcome

    def hit(self, one: Trial, number: int, outcome: Outcome) -> bool:
        """Start a run and send a signal; whether it came before the end."""
        one.start()
        if one.slow:
            nth = self.random.randint(1, 6)
            there = one.wait(lambda: board(BEGUN) >= nth and board(BEGUN) > board(ENDED))
        else:
            # While it starts, or anywhere in or between the iterations up to behind the next save.
            aim, pause = one.kept() + self.random.randint(0, INTERVAL + 1), self.random.random() / 2
            one.wait(lambda: board(ITERATION) >= aim)
            moment = time.monotonic() + pause
            there = one.wait(lambda: time.monotonic() >= moment)
        if not there:
            return False
        one.send(number, self.random.randrange(one.ranks) if one.ranks > 1 else None)
        done = board(ITERATION)
        if number != signal.SIGKILL:
            one.wait()
            done = board(ITERATION)
            if one.statuses != [128 + number]:
                outcome.failures.append(f'exit status {one.statuses} after a signal: {one.log}')
        outcome.lost = max(outcome.lost, done - one.kept())
        outcome.hits.append(done)
        outcome.note = f'hit after {min(outcome.hits)} to {max(outcome.hits)} iterations'
        return True

    def damages(self, kind: str) -> Outcome:
        """Runs that were stopped half-way, and whose newest checkpoint is not what it was."""
        outcome = Outcome(f'checkpoint {kind}')
        for number in range(max(1, round(DAMAGES[kind] * self.share))):
            task = TASKS[number % len(TASKS)]
            one = self.trial(task)
            one.start()
            half = self.random.randint(4, 9)
            one.wait(lambda half=half: board(ITERATION) >= half)
            one.send(signal.SIGTERM)
            one.wait()
            done = one.kept()
            self.damage(kind, Path(find_resumable(str(one.work_dir))[0]), task)
            outcome.trials += 1
            outcome.lost = max(outcome.lost, done - one.kept())
            self.judge(outcome, one)
            self.advance(outcome.name)
        return outcome

    def damage(self, kind: str, path: Path, task: str) -> None:
        content = bytearray(path.read_bytes())
        if kind == 'cut off':
            content = content[: self.random.randrange(1, len(content))]
        elif kind == 'a bit changed':
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        elif kind == 'emptied':
            content = b''
        else:
            other = next(one for one in TASKS if one != task)
            torch.save(dict(state_dict=self.whole[other, 1], meta={}), path)
            return
        path.write_bytes(content)

    def disk(self, name: str, act: Callable[['Chaos', Trial, Path], str]) -> Outcome:
        """A run on a disk of its own."""
        outcome = Outcome(name)
        try:
            with small_disk(self.folder / f'disk{self.count}') as where:
                one = self.trial('detector', where=where)
                outcome.trials, outcome.note = 1, act(self, one, where)
                self.judge(outcome, one)
        except PermissionError as error:
            outcome.note = f'skipped: {error}'
        self.advance(name)
        return outcome

    def fill(self, one: Trial, where: Path) -> str:
        """Fill the disk after the first checkpoint, and empty it some iterations later."""
        one.start()
        one.wait(lambda: board(ITERATION) >= 4)
        filler = where / 'filler'
        try:
            with open(filler, 'wb') as file:
                while file.write(bytes(1 << 16)):
                    file.flush()
        except OSError:
            pass
        full = board(ITERATION)
        one.wait(lambda: board(ITERATION) >= 9)
        filler.unlink()
        one.wait()
        summary = json.loads((one.work_dir / SUMMARY_FILE).read_text())
        return f'full from iteration {full} to 9, {summary.get("failed_saves")} saves failed'

    def stay_full(self, one: Trial, where: Path) -> str:
        """Fill the disk for good: the run ends with an error, and the last checkpoint stands."""
        one.start()
        one.wait(lambda: board(ITERATION) >= 4)
        subprocess.run(['sh', '-c', f'cat /dev/zero > {where}/filler'], capture_output=True)
        one.wait()
        kept, status = one.kept(), one.statuses
        (where / 'filler').unlink()
        return f'ended with exit status {status[0]}, kept iteration {kept}'

    def read_only(self, one: Trial, where: Path) -> str:
        """Stop a run, and start it again where nothing can be written: refused, nothing lost."""
        one.start()
        one.wait(lambda: board(ITERATION) >= 5)
        one.send(signal.SIGTERM)
        one.wait()
        kept = one.kept()
        remount(where, 'ro')
        try:
            one.start()
            one.wait()
        finally:
            remount(where, 'rw')
        if not any(one.statuses):
            raise RuntimeError(f'trained on a read-only disk: {one.log}')
        return f'refused with exit status {one.statuses[0]}, kept iteration {one.kept()} of {kept}'


def remount(where: Path, how: str) -> None:
    options = ['mount', '-o', f'remount,{how}', str(where)]
    done = subprocess.run(options, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(f'{" ".join(options)}: {done.stderr.strip()}')


@contextmanager
def small_disk(where: Path, megabytes: int = 128) -> Iterator[Path]:
    """A file system of its own.

    Raises:
        PermissionError: If this user cannot mount one.
    """
    where.mkdir(parents=True)
    command = ['mount', '-t', 'tmpfs', '-o', f'size={megabytes}m', 'tmpfs', str(where)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PermissionError('there is no mount command') from error
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield where
    finally:
        subprocess.run(['umount', '-l', str(where)], check=False)


def scenarios(chaos: Chaos) -> Iterator[Outcome]:
    yield chaos.signals('SIGKILL', signal.SIGKILL)
    yield chaos.signals('SIGKILL while saving', signal.SIGKILL, slow=0.1)
    yield chaos.signals('SIGKILL of one of two', signal.SIGKILL, ranks=2)
    yield chaos.signals('SIGTERM', signal.SIGTERM)
    for kind in DAMAGES:
        yield chaos.damages(kind)
    yield chaos.disk('full disk for a while', Chaos.fill)
    yield chaos.disk('full disk to the end', Chaos.stay_full)
    yield chaos.disk('read-only disk', Chaos.read_only)


def table(outcomes: list[Outcome]) -> str:
    lines = [
        '| what happens | trials | survived | identical | lost iterations | |',
        '| --- | ---: | ---: | ---: | ---: | --- |',
    ]
    lines += [
        f'| {one.name} | {one.trials} | {one.survived} | {one.identical} | {one.lost} |'
        f' {one.note} |'
        for one in outcomes
    ]
    return '\n'.join(lines)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--quick', action='store_true', help='a tenth of the trials')
    parser.add_argument('--out', type=Path, metavar='STEM', help='default benchmarks/results/chaos')
    args = parser.parse_args()
    out = args.out or (None if args.quick else RESULTS / 'chaos')
    torch.set_num_threads(1)
    started = time.monotonic()
    total = (sum(TRIALS.values()) + sum(DAMAGES.values())) * (0.1 if args.quick else 1) + 3
    folder = Path(tempfile.mkdtemp(prefix='chaos'))
    make_data(folder / 'data')
    with Progress(transient=True) as progress:
        bar = progress.add_task('trains without a break', total=total)

        def advance(name: str) -> None:
            progress.update(bar, advance=1, description=name)

        os.chdir(folder)
        chaos = Chaos(folder, 0.1 if args.quick else 1.0, advance)
        for task in TASKS:
            chaos.reference(task)
        outcomes = list(scenarios(chaos))
    seconds = time.monotonic() - started
    failures = [failure for one in outcomes for failure in one.failures]
    text = table(outcomes)
    print(text)
    if out is not None:
        command = 'python benchmarks/chaos/chaos.py'
        record = dict(
            command=command,
            machine=processor(),
            versions=versions(),
            seconds=round(seconds),
            interval=INTERVAL,
            outcomes=[asdict(one) for one in outcomes],
        )
        write_whole(out.with_suffix('.json'), json.dumps(record, indent=1) + '\n')
        page = (
            f'# Chaos\n\nBy `{command}` on {processor()}, in {describe_seconds(seconds)}; a '
            f'checkpoint every {INTERVAL} of {ITERATIONS} iterations.\n\n{text}\n'
        )
        write_whole(out.with_suffix('.md'), page)
    if failures:
        raise UserError(f'{len(failures)} trials failed:\n' + '\n'.join(failures), 1)
    shutil.rmtree(folder)


if __name__ == '__main__':
    sys.exit(run(main))
