#!/usr/bin/env python
"""Run the rows of a table of the papers, and print their results beside the paper's."""

import argparse
import shlex
import sys
from pathlib import Path

from arguments import exit_status, parser_of, positive, write_report_of

EPILOG = """\
Finished runs are skipped, interrupted ones continue. Options that are not listed here go to
train.py (--amp, --auto-scale-lr, --data-root ...). Several machines: the same command on each,
with NNODES, NODE_RANK, MASTER_ADDR and PORT set as for dist_train.sh, in a folder that they share.

examples:
  run_table.py --table scsa-4 --dry-run
  run_table.py --table scsa-4 --gpus 8 --auto-scale-lr
  run_table.py --table scsa-2 --launcher slurm --sbatch-args "--partition=gpu --gres=gpu:1"
  run_table.py --table scsa-4 --results
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, '--cfg-options', epilog=EPILOG, allow_abbrev=False)
    which = parser.add_argument_group('which runs')
    which.add_argument(
        '--table',
        metavar='NAME',
        required=True,
        help='scsa-1 to scsa-6, res2net-1, res2net-4 or se-survey',
    )
    which.add_argument('--config', metavar='TEXT', help='only configs whose name contains TEXT')
    which.add_argument(
        '--attention', metavar='NAME', help="only this attention; 'none' for the plain networks"
    )
    which.add_argument(
        '--seed',
        type=int,
        nargs='+',
        default=[],
        metavar='N',
        help="seeds of each row; default the paper's: 0, or 0 1 2 where it has means",
    )
    which.add_argument(
        '--row', type=int, metavar='N', help='only run number N of these, the first is 0'
    )
    what = parser.add_argument_group('what to do with them (train, unless told)')
    what = what.add_mutually_exclusive_group()
    what.add_argument('--dry-run', action='store_true', help='print the commands only')
    what.add_argument('--results', action='store_true', help='print the results only')
    how = parser.add_argument_group('how to train')
    how.add_argument(
        '--gpus', type=positive, default=1, metavar='N', help='processes of each run, 1 unless told'
    )
    how.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='slurm: submit an array with a task for each run; else they run here, one by one',
    )
    how.add_argument(
        '--sbatch-args', default='', metavar='WORDS', help='resources of a Slurm task, in quotes'
    )
    how.add_argument('--demo', action='store_true', help='on generated images')
    args, args.options = parser.parse_known_args()
    if any(option.partition('=')[0] == '--work-dir' for option in args.options):
        parser.error('--work-dir: each run has its own, work_dirs/TABLE/ROW')
    return args


def main(args: argparse.Namespace) -> None:
    from mmattn.engine.summary import SUMMARY_FILE
    from mmattn.experiments import find_experiments
    from mmattn.experiments import run as table
    from mmattn.utils.errors import UserError

    rows = find_experiments(args.table, args.config, args.attention)
    numbered = dict(enumerate(run for row in rows for run in row.runs(args.seed)))
    if args.row is not None:
        if args.row not in numbered:
            raise UserError(f'--row {args.row}: there are runs 0 to {len(numbered) - 1}.')
        numbered = {args.row: numbered[args.row]}
    runs = list(numbered.values())
    how = table.How(args.gpus, args.demo, args.options, args.cfg_options)
    if args.dry_run:
        print('\n'.join(shlex.join(table.train_command(one, how)) for one in runs))
    elif args.results:
        table.print_results(runs, args.demo)
    elif args.launcher == 'slurm':
        # A task is this command without Slurm.
        words = [sys.executable, __file__, *sys.argv[1:], '--launcher', 'none']
        print(table.submit_array(numbered, words, shlex.split(args.sbatch_args), args.demo))
    else:
        failed = table.run_all(runs, how)
        table.print_results(runs, args.demo)
        finished = [table.work_dir_of(one, args.demo) for one in runs]
        finished = [str(path) for path in finished if (path / SUMMARY_FILE).is_file()]
        if finished:
            write_report_of(*finished, out=str(Path(finished[0]).parent / 'report.html'))
        if failed:
            raise UserError(f'{len(failed)} runs failed: {", ".join(failed)}.', exit_code=1)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
