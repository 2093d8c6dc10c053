#!/usr/bin/env python
"""Train a detector, segmentation model or classifier: the config says which."""

import sys

from arguments import SHARED, exit_status, options_of_run, parser_of_runs, write_report_of

EPILOG = """\
examples:
  train.py faster_rcnn_r50_scsa_1x_coco --demo
  train.py CONFIG --data-root /data/coco --amp
  train.py CONFIG --cfg-options model.backbone.attention.type=ECA
  train.py CONFIG --resume
"""


def parse_args() -> dict[str, object]:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of_runs(__doc__, EPILOG)
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        '--demo',
        action='store_true',
        help='train for minutes on generated images, without any data or download',
    )
    data.add_argument('--data-root', **SHARED['--data-root'])
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='continue from the last checkpoint of the work dir, or from CKPT',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='delete the checkpoints of an earlier run in the work dir, and begin anew',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by real batch size / the batch size it was set for',
    )
    parser.add_argument('--seed', type=int, help='seed of all random numbers')
    parser.add_argument('--trust-checkpoint', **SHARED['--trust-checkpoint'])
    survival = parser.add_argument_group(
        "the config's key survival", 'what the run does so as to survive'
    )
    survival.add_argument(
        '--save-every',
        metavar='EVERY',
        help="save besides the config's interval, in the middle of an epoch too: every 10min, 30s, "
        '2h or 500it (iterations)',
    )
    survival.add_argument(
        '--bad-data',
        choices=['stop', 'skip'],
        help='what follows a sample that cannot be used: the end, with its name (default), or '
        'another one in its place, counted',
    )
    survival.add_argument(
        '--max-bad-data',
        type=float,
        metavar='SHARE',
        help='with --bad-data skip: the end once more than this share of the samples is bad '
        '(default 0.01)',
    )
    options = options_of_run(parser)
    names = [action.dest for action in survival._group_actions]
    options['survival'] = {name: options.pop(name) for name in names}
    return options


def main(options: dict[str, object]) -> None:
    from mmattn.engine.train import train

    if options.pop('demo'):
        from mmattn.demo import Demo

        options['demo'] = Demo()
    summary = train(**options)
    write_report_of(summary.work_dir)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
