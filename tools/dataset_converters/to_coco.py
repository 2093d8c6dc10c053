#!/usr/bin/env python
"""Convert a data set in its own format to COCO json files, OUT_DIR/SPLIT.json for each split.

File names in them are relative to ROOT, so that a config uses them with data_root=ROOT and
data_prefix=dict(img='').
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path


def data_sets() -> list[str]:
    """Names of the data sets with a converter: the folders of mmattn/datasets that hold one."""
    # Finding a package does not import it.
    package = Path(find_spec('mmattn').submodule_search_locations[0])
    return sorted(path.parent.name for path in package.glob('datasets/*/converter.py'))


def parse_args(name: str | None = None, description: str | None = __doc__) -> argparse.Namespace:
    """Read the command line; nothing heavy is imported for it.

    Args:
        name: Of the data set, for a command about a single one.
        description: What the command does.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if name is None:
        parser.add_argument('name', choices=data_sets(), metavar='NAME', help='one of %(choices)s')
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
        type=_positive,
        nargs='?',
        const=12,
        metavar='N',
        help='also draw N images with their boxes to OUT_DIR/SPLIT_check.png (default: 12)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite files that exist')
    where = parser.add_argument_group('where it lies in ROOT, as far as the data set asks for it')
    where.add_argument('--img-subdir', help='folder of the images')
    where.add_argument('--ann-subdir', help='folder of the annotations')
    where.add_argument('--list-file', help='list of the images and their splits')
    args = parser.parse_args()
    args.name = name or args.name
    return args


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: at least one image has to be drawn')
    return int(text)


def main(name: str | None = None, description: str | None = __doc__) -> int:
    """Convert; return the exit status."""
    args = parse_args(name, description)
    options = {key: getattr(args, key) for key in ('img_subdir', 'ann_subdir', 'list_file')}
    options = {key: value for key, value in options.items() if value is not None}
    try:
        # Without the engine, whose imports take longer than most conversions.
        from mmattn.datasets.command import convert_data_set
        from mmattn.utils.errors import UserError

        try:
            convert_data_set(args.name, args, options)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            return error.exit_code
    except KeyboardInterrupt:
        print('error: stopped by Ctrl-C.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
