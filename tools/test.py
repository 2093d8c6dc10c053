#!/usr/bin/env python
"""Evaluate a checkpoint with any mmdet, mmsegmentation or mmpretrain config."""

import sys

from arguments import add_data_root, exit_status, options_of, parser_of_runs


def parse_args() -> dict[str, object]:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of_runs(
        description="Evaluate a checkpoint on the config's test data with the config's metrics.",
        epilog='Example: test.py CONFIG work_dirs/CONFIG/epoch_12.pth --show-dir pictures',
    )
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    add_data_root(parser)
    parser.add_argument('--out', metavar='FILE', help='write the predictions to FILE (.pkl)')
    parser.add_argument('--show-dir', metavar='DIR', help='write pictures of predictions to DIR')
    return options_of(parser)


def main() -> int:
    """Test; return the exit status."""
    options = parse_args()

    def run() -> None:
        from mmattn.engine.evaluate import evaluate

        evaluate(**options)

    return exit_status(run)


if __name__ == '__main__':
    sys.exit(main())
