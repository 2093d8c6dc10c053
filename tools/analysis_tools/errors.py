#!/usr/bin/env python
"""Say what a detector, segmenter or classifier does wrong, beside a baseline."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SHARED, exit_status, parser_of

EPILOG = """\
One pass over the test data, two with a baseline. Detectors: AP by class and size, TIDE's kinds of
errors and what each costs, confusions, the images with most missed objects. Segmenters: IoU by
class, confusions, the images with most wrong pixels. Classifiers: accuracy by class, confusions,
the surest mistakes. Tables are printed; errors.json and the pictures are written.

examples:
  errors.py CONFIG work_dirs/CONFIG/epoch_12.pth
  errors.py mask_rcnn_r50_scsa_1x_coco CHECKPOINT --by masks
  errors.py CONFIG scsa.pth --baseline CONFIG none.pth \\
      --baseline-cfg-options model.backbone.attention=None
"""


def score(text: str) -> float:
    """The type of a score."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f'{text!r}: a number from 0 to 1')
    return number


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, 'config', epilog=EPILOG)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint file or URL')
    parser.add_argument(
        '--baseline',
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='model to compare with, on the same data',
    )
    parser.add_argument('--cfg-options', **SHARED['--cfg-options'])
    parser.add_argument(
        '--baseline-cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help="change the baseline's config",
    )
    parser.add_argument(
        '--split', choices=['test', 'val'], default='test', help="the config's; default test"
    )
    for name in ('--data-root', '--trust-checkpoint'):
        parser.add_argument(name, **SHARED[name])
    parser.add_argument(
        '--score',
        type=score,
        default=0.3,
        metavar='S',
        help='detections below it are left out of confusions and pictures; default 0.3',
    )
    parser.add_argument(
        '--by',
        choices=['boxes', 'masks'],
        default='boxes',
        help='whose overlaps tell what a detector has found, for AP and all else; default boxes',
    )
    parser.add_argument(
        '--out', metavar='DIR', help='folder for the results; default work_dirs/CONFIG/errors'
    )
    args = parser.parse_args()
    if args.baseline_cfg_options and not args.baseline:
        parser.error('--baseline-cfg-options needs --baseline')
    return args


def main(args: argparse.Namespace) -> None:
    from mmattn.analysis.errors.report import report

    options = vars(args)
    out = Path(options.pop('out') or Path('work_dirs', Path(args.config).stem, 'errors'))
    report(out=out, **options)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
