#!/usr/bin/env python
"""Count the parameters and multiply-adds of a config, or of a whole table of the papers."""

import argparse
import sys

EPILOG = """\
Nothing is computed, so that a detector at full size takes seconds. Multiply-adds are those of one
image as mmengine counts them; what it leaves out stands beside them.

examples:
  complexity.py resnet50_scsa_in1k
  complexity.py faster_rcnn_r50_scsa_1x_coco --shape 800 1333
  complexity.py CONFIG --cfg-options model.backbone.attention.type=ECA
  complexity.py --table scsa-2 --format markdown --out table2.md
"""


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', nargs='?', help='config file, or the name of a shipped config')
    parser.add_argument(
        '--table', metavar='NAME', help='all rows of a table beside its figures: scsa-2, scsa-3 ...'
    )
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('H', 'W'),
        help='of the image; default 224 224 (classifiers), 800 1280 (detectors), '
        '512 2048 (segmentation), 32 32 (CIFAR)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change the config'
    )
    parser.add_argument(
        '--format', choices=['text', 'csv', 'markdown'], default='text', help='default text'
    )
    parser.add_argument('--out', metavar='FILE', help='write to FILE instead of the terminal')
    args = parser.parse_args()
    if (args.config is None) == (args.table is None):
        parser.error('give either a config or --table')
    if args.table and (args.shape or args.cfg_options):
        parser.error('--table measures the rows as they are: no --shape, no --cfg-options')
    if args.shape and min(args.shape) < 1:
        parser.error(f'--shape {args.shape[0]} {args.shape[1]}: both at least 1')
    return args


def report(args: argparse.Namespace) -> str:
    """The measured table as text."""
    from rich.console import Console
    from rich.progress import track

    from mmattn.analysis import measure, tables
    from mmattn.engine.prepare import prepare

    console = Console(stderr=True)
    if args.table:
        bar = {'console': console, 'disable': not console.is_terminal}
        rows = tables.measure_table(args.table, lambda rows: track(rows, 'measuring', **bar))
        columns, note = tables.columns_of(args.table), tables.note_of(args.table)
        return tables.render(rows, columns, args.format, note)
    cfg, notes = prepare(args.config, args.cfg_options)
    for note in notes:
        console.print(f'note: {note}')
    return tables.render_parts(measure(cfg, args.shape), args.format)


def main() -> int:
    """Count and print; return the exit status."""
    args = parse_args()
    from mmattn.engine import cli
    from mmattn.utils.files import write_whole

    def command() -> None:
        text = report(args)
        if args.out:
            write_whole(args.out, text)
            print(f'written: {args.out}')
        else:
            print(text, end='')

    return cli.run(command)


if __name__ == '__main__':
    sys.exit(main())
