#!/usr/bin/env python
"""Fuse a trained network that has a deployed form (RepVGG), attention included.

Builds CONFIG's model, loads CHECKPOINT, fuses, checks that the features stay equal to 1e-4,
and writes DST. The config that loads DST is CONFIG with the option that is printed.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import exit_status, parser_of


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    names = ('config', '--cfg-options', '--force', '--trust-checkpoint')
    parser = parser_of(__doc__, *names)
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='trained weights')
    parser.add_argument('dst', type=Path, metavar='DST', help='the file to write, .pth')
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from mmattn.weights.reparameterize import reparameterize

    fused = reparameterize(args.config, args.checkpoint, args.dst, args.cfg_options, args.force)
    for note in fused.notes:
        print(f'note: {note}')
    print(f'fused: {", ".join(name or "the model" for name in fused.modules)}')
    print(f'parameters: {fused.before:,} before, {fused.after:,} after')
    print(f'relative error of the features: {fused.error:.1e}')
    if fused.options:
        print(f'load it with --cfg-options {" ".join(fused.options)}')
    print(f'written: {args.dst}')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
