#!/usr/bin/env python
"""Evaluate a checkpoint on the test data of any config with the config's metrics."""

import sys

from arguments import SHARED, exit_status, options_of_run, parser_of_runs

EPILOG = 'example: test.py CONFIG work_dirs/CONFIG/epoch_12.pth --show-dir pictures'


def parse_args() -> dict[str, object]:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of_runs(__doc__, EPILOG)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    for name in ('--data-root', '--trust-checkpoint'):
        parser.add_argument(name, **SHARED[name])
    parser.add_argument('--out', metavar='FILE', help='write the predictions to FILE (.pkl)')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of predictions to DIR')
    return options_of_run(parser)


def main(options: dict[str, object]) -> None:
    from mmattn.engine.evaluate import evaluate

    evaluate(**options)


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
