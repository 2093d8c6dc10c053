#!/usr/bin/env python
"""Turn a published checkpoint into one that mmattn's backbones load.

Writes {'state_dict', 'meta'} with bare backbone keys, for
init_cfg=dict(type='Pretrained', checkpoint=DST), and prints the config that goes with it,
read from the shapes. Nothing is written unless every key of that model is there and fits.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import exit_status, package, parser_of


def parse_args() -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it."""
    sources = sorted(path.stem for path in package().glob('weights/sources/[!_]*.py'))
    parser = parser_of(__doc__, '--force', '--trust-checkpoint')
    parser.add_argument('src', type=Path, metavar='SRC', help='the published file')
    parser.add_argument('dst', type=Path, metavar='DST', help='the file to write, .pth')
    parser.add_argument(
        '--source',
        metavar='NAME',
        help=f'where it comes from: {", ".join(sources)}; default: told from its keys',
    )
    parser.add_argument(
        '--with-head',
        action='store_true',
        help='keep the classifier: backbone.* and head.fc.*, for mmpretrain',
    )
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.markup import escape

    from mmattn import weights

    weights.refuse_existing(args.dst, args.force)
    loaded = weights.unwrap(weights.read_checkpoint(args.src), args.src)
    source = weights.find_source(args.source, loaded.tensors, str(args.src))
    conversion = weights.convert_checkpoint(loaded.tensors, source, args.with_head, str(args.src))
    if args.with_head and 'dataset_meta' in loaded.meta:
        conversion.checkpoint['meta']['dataset_meta'] = loaded.meta['dataset_meta']
    weights.write_whole(args.dst, weights.to_bytes(conversion.checkpoint))
    console = Console(soft_wrap=True)
    for note in [*loaded.notes, *filter(None, [source.note])]:
        console.print(f'note: {escape(note)}')
    table = weights.report_table(conversion, f'{args.src.name} from {source.origin}')
    console.print(table, soft_wrap=False)
    console.print('The config that loads it:\n', style='bold')
    print(weights.config_text(conversion, str(args.dst)))
    if not args.with_head and 'attention' in conversion.config:
        console.print(
            'note: backbone.freeze_attention=True lets frozen_stages and norm_eval apply to the '
            'loaded attention too, as to the rest of a pretrained backbone'
        )
    console.print(f'written: {escape(str(args.dst))}')


if __name__ == '__main__':
    sys.exit(exit_status(main, parse_args()))
