#!/usr/bin/env python
"""Evaluate a checkpoint with any mmdet, mmsegmentation or mmpretrain config."""

import argparse
import gc
import os
import sys
import time

STARTED = time.time()


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        description="Evaluate a checkpoint on the config's test data with the config's metrics.",
        epilog='Example: test.py CONFIG work_dirs/CONFIG/epoch_12.pth --show-dir pictures',
    )
    parser.add_argument('config', help='config file, or the name of a shipped config')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--work-dir', metavar='DIR', help='for logs; default work_dirs/CONFIG')
    parser.add_argument('--out', metavar='FILE', help='write the predictions to FILE (.pkl)')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of predictions to DIR')
    parser.add_argument(
        '--data-root', metavar='DIR', help="use the data in DIR instead of the config's data_root"
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change the config'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes; dist_test.sh sets it',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    # torch.distributed.launch passes it as an option, mmengine reads the variable
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> int:
    """Test; return the exit status."""
    args = parse_args()
    # As in train.py: a quarter of the start would be collections over fresh imports.
    gc.disable()
    from mmattn.engine import cli
    from mmattn.engine.test import test

    return cli.run(
        lambda: test(
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            out=args.out,
            show_dir=args.show_dir,
            data_root=args.data_root,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
            started=STARTED,
        )
    )


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while the toolboxes are imported
        sys.exit(130)
