"""The command line that the converters share."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from mmattn.datasets.converters.boxes import CLIPPED
from mmattn.datasets.converters.coco import read_classes, write_json
from mmattn.datasets.converters.contact_sheet import draw_contact_sheet
from mmattn.datasets.converters.report import other_classes, summary_table
from mmattn.datasets.converters.source import Source, convert
from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing


def build_parser(description: str) -> argparse.ArgumentParser:
    """The arguments of every converter; one may add its own."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', type=Path, metavar='ROOT', help='folder of the tree')
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
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r}: at least one image has to be drawn')
    return int(text)


def run(args: argparse.Namespace, open_source: Callable[[], Source]) -> None:
    """Convert, write OUT_DIR/SPLIT.json, and print what became of everything.

    Args:
        args: As parsed by the parser above.
        open_source: Builds the reader.
    """
    out_dir = args.out_dir or args.root / 'coco'
    try:
        classes = read_classes(args.classes)
        source = open_source()
        splits = source.choose_splits(args.splits)
        outputs = {split: out_dir / f'{split}.json' for split in splits}
        sheets = {split: out_dir / f'{split}_check.png' for split in splits if args.check}
        refuse_existing([*outputs.values(), *sheets.values()], args.force)
        results, tallies, notes = convert(source, args.splits, classes)
        for split, path in outputs.items():
            write_json(results[split], path)
        for split, path in sheets.items():
            odd = tallies[split].examples.get(CLIPPED, [])
            draw_contact_sheet(results[split], source.root, path, args.check, odd)
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
    names = [category['name'] for category in next(iter(results.values()))['categories']]
    console = Console()
    console.print(summary_table(tallies, names, str(args.root)))
    for name, count in other_classes(tallies).items():
        console.print(f'class not asked for: {escape(name)}, {count:,} boxes')
    for note in notes:
        console.print(f'note: {escape(note)}')
    for path in [*outputs.values(), *sheets.values()]:
        console.print(f'written: {escape(str(path))}', soft_wrap=True)
