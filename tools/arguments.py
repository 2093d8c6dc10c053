"""What train.py and test.py share: arguments, and how a command starts. Imports nothing heavy."""

import argparse
import gc
import os
import time
from collections.abc import Callable

STARTED = time.time()


def parser_of_runs(**texts: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every run; ``texts`` are those of ArgumentParser."""
    parser = argparse.ArgumentParser(**texts)
    parser.add_argument('config', help='config file, or the name of a shipped config')
    parser.add_argument(
        '--work-dir', metavar='DIR', help='for logs and checkpoints; default work_dirs/CONFIG'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='change the config, e.g. train_cfg.max_epochs=24 model.backbone.attention=None; '
        'lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; the dist_*.sh and slurm_train.sh set it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def add_data_root(parser: argparse._ActionsContainer) -> None:
    """Add ``--data-root`` to a parser or to a group of one."""
    parser.add_argument(
        '--data-root', metavar='DIR', help="use the data in DIR instead of the config's data_root"
    )


def options_of(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Read the command line: what the engine's functions take, by name."""
    options = vars(parser.parse_args())
    # torch.distributed.launch passes it as an option, mmengine reads the variable
    os.environ.setdefault('LOCAL_RANK', str(options.pop('local_rank')))
    return {**options, 'started': STARTED}


def exit_status(run: Callable[[], object]) -> int:
    """Import what a run needs, and run it; return the exit status.

    Args:
        run: Imports and calls the engine.
    """
    # The toolboxes' imports make millions of objects that stay; looking through them for
    # garbage again and again takes a quarter of the start. The engine turns it on again.
    gc.disable()
    try:
        from mmattn.engine import cli

        return cli.run(run)
    except KeyboardInterrupt:  # while the toolboxes are imported
        return 130
