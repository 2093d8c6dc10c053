#!/usr/bin/env python
"""Convert a data set in its own format to COCO json files, OUT_DIR/SPLIT.json for each split.

File names in them are relative to ROOT, so that a config uses them with data_root=ROOT and
data_prefix=dict(img='').
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arguments import exit_status, package, parser_of, positive

# What some converters take besides ROOT.
WHERE = {
    'img_subdir': 'folder of the images',
    'ann_subdir': 'folder of the annotations',
    'list_file': 'list of the images and their splits',
}


def parse_args(name: str | None, description: str) -> argparse.Namespace:
    """Read the command line, of one data set if it has a name; nothing heavy is imported for it."""
    same = name and f'The same as to_coco.py {name}.'
    parser = parser_of(description, '--force', epilog=same)
    parser.set_defaults(name=name)
    if name is None:
        names = sorted(path.parent.name for path in package().glob('datasets/*/converter.py'))
        parser.add_argument('name', choices=names, metavar='NAME', help='one of %(choices)s')
    parser.add_argument('root', type=Path, metavar='ROOT', help='folder of the data set')
    parser.add_argument(
        '--splits', nargs='+', default=[], help='such as train val; default: all there are'
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        default=[],
        help='names in the order of their ids, or one file with a name a line; boxes of other '
        "classes are dropped and counted; default: the data set's, else every name found, sorted",
    )
    parser.add_argument('--out-dir', type=Path, help='default: ROOT/coco')
    parser.add_argument(
        '--check',
        type=positive,
        nargs='?',
        const=12,
        metavar='N',
        help='also draw N images with their boxes to OUT_DIR/SPLIT_check.png (default: 12)',
    )
    where = parser.add_argument_group('where it lies in ROOT, as far as the data set asks for it')
    for option, text in WHERE.items():
        where.add_argument(f'--{option.replace("_", "-")}', help=text)
    return parser.parse_args()


def convert(args: argparse.Namespace) -> None:
    from mmattn.datasets.command import convert_data_set

    options = {key: value for key in WHERE if (value := getattr(args, key)) is not None}
    convert_data_set(args.name, args, options)


def main(name: str | None = None, description: str = __doc__) -> None:
    """Convert, and leave with the exit status."""
    # The engine's imports take longer than most conversions.
    sys.exit(exit_status(convert, parse_args(name, description), engine=False))


if __name__ == '__main__':
    main()
