"""What the tools share: arguments, and how a command starts and ends. Imports nothing heavy."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

STARTED = time.time()


def package() -> Path:
    """The folder of mmattn, which is not imported: beside tools/, or around .mim/tools."""
    root = Path(__file__).resolve().parents[1]
    return root.parent if root.name == '.mim' else root / 'mmattn'


def positive(text: str) -> int:
    """The type of a number that counts something."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: at least 1')
    return int(text)


SIZE = dict(nargs=2, type=positive, metavar=('H', 'W'))
# Arguments of several tools.
SHARED = {
    'config': dict(metavar='CONFIG', help='config file, or the name of a shipped config'),
    '--cfg-options': dict(
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config, e.g. train_cfg.max_epochs=24 model.backbone.attention=None; '
        'lists as key="[a,b]"',
    ),
    '--data-root': dict(
        metavar='DIR', help="use the data in DIR instead of the config's data_root"
    ),
    '--trust-checkpoint': dict(
        action='store_true',
        help='read checkpoints that hold more than data, and run what they ask for: only those '
        'of people you trust with this machine',
    ),
    '--force': dict(action='store_true', help='overwrite files that exist'),
}


def parser_of(description: str, *shared: str, **options) -> argparse.ArgumentParser:
    """A parser with some of the shared arguments; its texts are shown as they are written."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form, **options)
    for name in shared:
        parser.add_argument(name, **SHARED[name])
    return parser


def parser_of_runs(description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every run."""
    parser = parser_of(description, 'config', '--cfg-options', epilog=epilog)
    parser.add_argument(
        '--work-dir', metavar='DIR', help='for logs and checkpoints; default work_dirs/CONFIG'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; the dist_*.sh and slurm_train.sh set it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def options_of_run(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Read the command line of a run: what the engine's functions take, by name."""
    options = vars(parser.parse_args())
    # torch.distributed.launch passes it as an option, mmengine reads the variable
    os.environ.setdefault('LOCAL_RANK', str(options.pop('local_rank')))
    # The toolboxes' imports make millions of objects that stay; looking through them for
    # garbage again and again takes a quarter of the start. The engine turns it on again.
    gc.disable()
    return {**options, 'started': STARTED}


def exit_status(command: Callable[..., object], *args: object, engine: bool = True) -> int:
    """Run a command, which imports what it needs; return the exit status.

    ``--trust-checkpoint``, if it is among the arguments, holds for what the command reads.
    """

    given = [each if isinstance(each, dict) else getattr(each, '__dict__', {}) for each in args]
    trust = any(options.pop('trust_checkpoint', False) for options in given)

    def start() -> object:
        if not trust:
            return command(*args)
        from mmattn.utils.checkpoints import trusting

        with trusting():
            return command(*args)

    try:
        if engine:
            from mmattn.engine.cli import run
        else:
            from mmattn.utils.errors import run
        return run(start)
    except KeyboardInterrupt:  # while the toolboxes are imported
        print('error: stopped by Ctrl-C.', file=sys.stderr)
        return 130


def write_report_of(*folders: str, out: str | None = None) -> None:
    """The page about runs at a command's end, or why there is none; by the first process."""
    from mmengine.dist import is_main_process

    from mmattn.analysis.report import write_report
    from mmattn.utils.errors import UserError

    if not is_main_process():
        return
    path = Path(out or Path(folders[0], 'report.html'))
    try:
        print(f'report: {write_report(folders, path)}')
    except UserError as error:
        print(f'no report: {error}', file=sys.stderr)
