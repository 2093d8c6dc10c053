#!/usr/bin/env python
"""Make a training checkpoint publishable: no optimizer or hook state, a hash in its name.

Writes STEM-HASH.pth, or .safetensors, in DST's folder, where HASH are the first 8 digits of
the file's SHA-256.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import exit_status, parser_of


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    parser = parser_of(__doc__, '--force', '--trust-checkpoint')
    parser.add_argument('src', type=Path, metavar='SRC', help='checkpoint of a training run')
    parser.add_argument('dst', type=Path, metavar='DST', help='name to publish under')
    parser.add_argument(
        '--format',
        choices=['pth', 'safetensors'],
        help='default: by the ending of DST, pth unless it is .safetensors',
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from mmattn.weights.publish import publish

    done = publish(args.src, args.dst, args.force, args.format)
    print(f'left out: {", ".join(done.removed) or "nothing"}')
    print(f'size: {done.before / 2**20:,.1f} MiB before, {done.after / 2**20:,.1f} MiB after')
    print(f'written: {done.path}')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
