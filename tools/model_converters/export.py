#!/usr/bin/env python
"""Export the backbone or the whole classifier of any config to ONNX or torch.export.

Batch, height and width stay dynamic; the file is compared with the model at two sizes before
it is written. Images go in normalised (mean and std of the config's data_preprocessor);
a classifier gives logits.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import SIZE, exit_status, parser_of

EPILOG = 'example: export.py resnet50_scsa_in1k model.onnx --checkpoint best.pth'


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    names = ('config', '--cfg-options', '--force', '--trust-checkpoint')
    parser = parser_of(__doc__, *names, epilog=EPILOG)
    parser.add_argument('dst', type=Path, metavar='DST', help='the file to write')
    parser.add_argument(
        '--checkpoint',
        type=Path,
        metavar='FILE',
        help="weights of the model or of its backbone; default: the config's, else random",
    )
    parser.add_argument(
        '--part',
        choices=['backbone', 'classifier'],
        help='default: classifier where the config has one, else backbone',
    )
    parser.add_argument(
        '--format',
        choices=['onnx', 'torch'],
        help='default: by the ending of DST, torch for .pt2 and onnx for all others',
    )
    parser.add_argument('--size', **SIZE, default=[224, 224], help='at which the file is checked')
    parser.add_argument(
        '--check-size',
        **SIZE,
        default=[450, 230],
        help='second size at which it is checked; default: %(default)s',
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from mmattn.utils.files import refuse_existing
    from mmattn.weights.export import choose_part, export, require_packages
    from mmattn.weights.models import load_model

    kind = args.format or ('torch' if args.dst.suffix == '.pt2' else 'onnx')
    refuse_existing(args.dst, args.force)
    require_packages(kind)
    loaded = load_model(args.config, args.checkpoint, args.cfg_options)
    part = args.part or ('classifier' if loaded.cfg.default_scope == 'mmpretrain' else 'backbone')
    for note in loaded.notes:
        print(f'note: {note}', flush=True)
    module = choose_part(loaded.model, part)
    done = export(module, args.dst, kind, tuple(args.size), tuple(args.check_size), args.force)
    for (height, width), error in done.errors.items():
        print(f'checked at {height} x {width}: relative error {error:.1e}')
    print(f'smallest image: {done.least[0]} x {done.least[1]}')
    print(f'written: {args.dst} ({args.dst.stat().st_size / 2**20:,.1f} MiB)')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
