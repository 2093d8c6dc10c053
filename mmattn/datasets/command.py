"""The command over the converters: ``tools/dataset_converters/to_coco.py``."""

import inspect
from argparse import Namespace
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from mmattn.datasets.boxes import CLIPPED
from mmattn.datasets.coco_json import read_classes, write_json
from mmattn.datasets.contact_sheet import draw_contact_sheet
from mmattn.datasets.folders import members
from mmattn.datasets.report import other_classes, summary_table
from mmattn.utils.errors import InvalidArgument, UserError
from mmattn.utils.files import refuse_existing


def convert_data_set(name: str, args: Namespace, options: Mapping[str, str]) -> None:
    """Convert, write OUT_DIR/SPLIT.json, and print what became of everything.

    Args:
        name: Of the data set.
        args: root, splits, classes, out_dir, check (a number of images, or None) and force,
            as the tool's parser gives them.
        options: Arguments of this converter alone.

    Raises:
        InvalidArgument: If the converter does not take one of the options.
        UserError: For anything else that the user can mend.
    """
    kind = members('converter')[name]
    taken = list(map(_flag, list(inspect.signature(kind).parameters)[1:]))
    for flag in map(_flag, options):
        if flag not in taken:
            raise InvalidArgument(
                f'{flag}: the converter of {name} takes no such option; it takes '
                f'{", ".join(taken) or "none of its own"}.'
            )
    out_dir = args.out_dir or args.root / 'coco'
    try:
        classes = read_classes(args.classes)
        converter = kind(args.root, **options)
        splits = converter.choose_splits(args.splits)
        outputs = {split: out_dir / f'{split}.json' for split in splits}
        sheets = {split: out_dir / f'{split}_check.png' for split in splits if args.check}
        refuse_existing([*outputs.values(), *sheets.values()], args.force)
        results, tallies, notes = converter.to_coco(args.splits, classes)
        for split, path in outputs.items():
            write_json(results[split], path)
        for split, path in sheets.items():
            odd = tallies[split].examples.get(CLIPPED, [])
            draw_contact_sheet(results[split], converter.root, path, args.check, odd)
    except OSError as error:
        raise UserError(str(error), 1) from error
    names = [category['name'] for category in next(iter(results.values()))['categories']]
    console = Console()
    console.print(summary_table(tallies, names, str(args.root)))
    for other, count in other_classes(tallies).items():
        console.print(f'class not asked for: {escape(other)}, {count:,} boxes')
    for note in notes:
        console.print(f'note: {escape(note)}')
    for path in [*outputs.values(), *sheets.values()]:
        console.print(f'written: {escape(str(path))}', soft_wrap=True)


def _flag(option: str) -> str:
    return '--' + option.replace('_', '-')
