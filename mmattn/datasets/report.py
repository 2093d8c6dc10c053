"""What a conversion read, kept and dropped, as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.markup import escape
from rich.table import Column, Table

from mmattn.datasets.boxes import Tally


def summary_table(tallies: Mapping[str, Tally], classes: Sequence[str], title: str) -> Table:
    """One column a split: images, boxes of each class, and what was dropped or odd, and why."""
    splits = (Column(escape(split), justify='right') for split in tallies)
    table = Table('', *splits, 'for example', title=escape(title), title_justify='left')

    def row(name: str, values: Sequence[int], style: str = '') -> None:
        names = [each for t in tallies.values() for each in t.examples.get(name, [])]
        examples = ', '.join(list(dict.fromkeys(names))[:2])
        table.add_row(name, *(f'{value:,}' for value in values), escape(examples), style=style)

    groups = list(tallies.values())
    row('images', [t.images for t in groups], 'bold')
    row('of these without a box', [t.images_without_boxes for t in groups])
    table.add_section()
    row('boxes', [t.boxes.total() for t in groups], 'bold')
    for name in classes:
        table.add_row(f'  {escape(name)}', *(f'{t.boxes[name]:,}' for t in groups), '')
    row('of these ignored (iscrowd)', [t.crowd for t in groups])
    for heading, counters in (
        ('images dropped', [t.dropped_images for t in groups]),
        ('boxes dropped', [t.dropped_boxes for t in groups]),
        ('', [t.remarks for t in groups]),
    ):
        table.add_section()
        if heading:
            row(heading, [counter.total() for counter in counters], 'bold')
        for reason in sorted({key for counter in counters for key in +counter}):
            row(reason, [counter[reason] for counter in counters])
    return table


def other_classes(tallies: Mapping[str, Tally]) -> dict[str, int]:
    """Boxes of the classes that were not asked for, over all splits, most first."""
    return dict(sum((tally.other_classes for tally in tallies.values()), Counter()).most_common())
