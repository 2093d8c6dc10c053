"""What a GPU does with the kernels: right first, then how fast, in less than nine minutes.

    python benchmarks/gpu/run.py --packages DIR        # see README.md

- correctness: every primitive, kernels against the pure way in float64, in float32, bfloat16 and
  float16, NCHW and channels_last; the same bits from run to run.
- table2: images a second and memory of the networks in the SCSA paper's table 2, kernels and
  pure, beside the paper's images a second on an RTX 4090 at batch 32.
- training: steps under autocast of ResNet-50, MobileNetV2, Swin-T and a detector.
- tests: those marked `cuda`.

Each part has a time of its own and stops at its end; what is measured is written at once, to
NAME.json and NAME.md in --out. --device cpu --quick runs all of it on tiny sizes, the kernels in
Triton's interpreter: only that it works.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds of each part.
PARTS = {'correctness': 180, 'table2': 190, 'training': 70, 'tests': 80}


def parse_args() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument('--packages', type=Path, help='what pack.py has made; default as it is')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--device', default='cuda', help='default cuda')
    parser.add_argument('--quick', action='store_true', help='tiny sizes: only that it runs')
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results')
    parser.add_argument('--name', help='of the files; default gpu_DEVICE')
    return parser.parse_args()


def run_tests(args: argparse.Namespace, record, left) -> None:
    marked = ['-m', 'cuda']
    environment = dict(os.environ)
    if args.device == 'cpu':
        # The same functions, without the interpreter: it takes minutes for them.
        marked = ['-k', 'cpu and SCSA']
        del environment['TRITON_INTERPRET']
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'absent']
    command += [*marked, 'tests/test_cuda']
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=max(left(), 30),
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        status = done.returncode
    except subprocess.TimeoutExpired as error:
        lines = (error.stdout or b'').decode().strip().splitlines() + ['stopped: out of time']
        status = 'stopped'
    seconds = round(time.perf_counter() - started)
    failures = [line for line in lines if line.startswith(('FAILED', 'ERROR'))]
    record(status=status, seconds=seconds, summary=lines[-1:] or ['no output'], failures=failures)
    print('\n'.join(lines[-60:]), flush=True)


def main() -> int:
    args = parse_args()
    here = Path(__file__).resolve().parent
    paths = [str(ROOT), str(here)] + ([str(args.packages.resolve())] if args.packages else [])
    sys.path[:0] = paths
    os.environ['PYTHONPATH'] = os.pathsep.join([*paths, os.environ.get('PYTHONPATH', '')])
    if args.device == 'cpu':
        os.environ['TRITON_INTERPRET'] = '1'  # before anything imports Triton
    import absent
    import measure
    from report import Report

    about = measure.machine_of(args.device)
    about['missing'] = absent.MISSING
    quick = '_quick' if args.quick else ''
    word = about['device'].split(',')[0].replace('NVIDIA ', '').replace(' ', '_')
    args.name = args.name or f'gpu_{word}{quick}'
    report = Report(args.out / args.name, about)
    runs = dict(
        correctness=measure.correctness,
        table2=measure.table2,
        training=measure.training,
        tests=run_tests,
    )
    for part in args.parts:
        end = time.perf_counter() + PARTS[part] * (10 if args.device == 'cpu' else 1)
        try:
            runs[part](args, report.recorder(part), lambda end=end: end - time.perf_counter())
        except Exception as error:
            # The other parts are worth having.
            report.failed(part, error)
    print(f'written: {report.path}.json, .md', flush=True)
    return report.status()


if __name__ == '__main__':
    sys.exit(main())
