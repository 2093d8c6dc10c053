#!/usr/bin/env python
"""Count the parameters and multiply-adds of a config, or of a whole table of the papers."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, SIZE, exit_status, parser_of

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
    parser = parser_of(__doc__, '--cfg-options', epilog=EPILOG)
    parser.add_argument('config', nargs='?', **SHARED['config'])
    parser.add_argument(
        '--table', metavar='NAME', help='all rows of a table beside its figures: scsa-2, scsa-3 ...'
    )
    parser.add_argument(
        '--shape',
        **SIZE,
        help='of the image; default 224 224 (classifiers), 800 1280 (detectors), '
        '512 2048 (segmentation), 32 32 (CIFAR)',
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
    return args


def main(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from mmattn.analysis import measure, tables
    from mmattn.engine.prepare import prepare
    from mmattn.utils.files import write_or_print

    console = Console(stderr=True)
    if args.table:
        bar = {'console': console, 'disable': not console.is_terminal}
        rows = tables.measure_table(args.table, lambda rows: track(rows, 'measuring', **bar))
        text = tables.render(rows, args.format)
    else:
        cfg, notes = prepare(args.config, args.cfg_options)
        for note in notes:
            console.print(f'note: {note}')
        text = tables.render_parts(measure(cfg, args.shape), args.format)
    write_or_print(args.out, text)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
