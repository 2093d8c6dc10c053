#!/usr/bin/env python
"""Run the rows of a table of the papers, and print their results beside the paper's."""

import argparse
import shlex
import sys


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Finished rows are skipped, interrupted ones continue. Options that are not listed '
        'here go to train.py. Examples: run_table.py --table scsa-4 --launcher pytorch --gpus 8 '
        '--auto-scale-lr | run_table.py --table scsa-2 --launcher slurm --sbatch-args '
        '"--partition=gpu --gres=gpu:1" | run_table.py --table scsa-4 --results',
    )
    parser.add_argument('--table', required=True, help='scsa-1 to scsa-6, res2net-1, res2net-4')
    parser.add_argument('--config', metavar='TEXT', help='only configs whose name contains TEXT')
    parser.add_argument('--attention', help="only this attention; 'none' for the plain networks")
    parser.add_argument('--row', type=int, help='only the row of this number, from 0')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='none: one process; pytorch: --gpus processes; slurm: one array task a row',
    )
    parser.add_argument('--gpus', type=int, default=1, help='processes of each run')
    parser.add_argument('--sbatch-args', default='', help='resources of a Slurm task, in quotes')
    parser.add_argument('--demo', action='store_true', help='train each row on generated images')
    parser.add_argument('--dry-run', action='store_true', help='print the commands only')
    parser.add_argument('--results', action='store_true', help='print the results only')
    args, args.options = parser.parse_known_args()
    return args


def run(args: argparse.Namespace) -> None:
    """Do what the command line says."""
    from mmattn.experiments import find_experiments
    from mmattn.experiments import run as table
    from mmattn.utils.errors import UserError

    try:
        rows = find_experiments(args.table, args.config, args.attention)
    except (KeyError, ValueError) as error:
        raise UserError(error.args[0]) from error
    if args.row is not None:
        if not 0 <= args.row < len(rows):
            raise UserError(f'--row {args.row}: there are rows 0 to {len(rows) - 1}.')
        rows = [rows[args.row]]
    if args.results:
        table.print_results(rows, args.demo)
        return
    if args.dry_run:
        for row in rows:
            print(shlex.join(table.train_command(row, args.gpus, args.demo, args.options)))
        return
    if args.launcher == 'slurm':
        words = [sys.executable, str(table.tools_dir() / 'run_table.py'), '--table', args.table]
        for name in ('config', 'attention'):
            if getattr(args, name) is not None:
                words += [f'--{name}', getattr(args, name)]
        if args.gpus > 1:
            words += ['--launcher', 'pytorch', '--gpus', str(args.gpus)]
        words += ['--demo'] * args.demo + args.options
        print(table.submit_array(rows, words, shlex.split(args.sbatch_args), args.demo))
        return
    processes = args.gpus if args.launcher == 'pytorch' else 1
    failed = table.run_rows(rows, processes, args.demo, args.options)
    table.print_results(rows, args.demo)
    if failed:
        raise UserError(f'{len(failed)} rows failed: {", ".join(failed)}.', exit_code=1)


def main() -> int:
    """Run; return the exit status."""
    args = parse_args()
    from mmattn.engine import cli

    return cli.run(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
