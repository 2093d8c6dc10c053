"""From a data set's own annotations to COCO's: what follows once they are read as records."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmattn.datasets.boxes import Record, Tally
from mmattn.datasets.coco_json import coco_content
from mmattn.datasets.images import check_image
from mmattn.utils.errors import UserError

# The split of a tree that names none: every image.
ALL = 'all'


class Converter(ABC):
    """A data set in its own format; file names of its records are relative to ``root``."""

    #: Class names in the order of their labels; () takes those found, sorted.
    classes: tuple[str, ...] = ()
    #: Labels of regions in which nothing is looked for; converted beside the classes.
    regions: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @abstractmethod
    def splits(self) -> list[str]:
        """Names of the splits that are there."""

    @abstractmethod
    def records(self, split: str) -> list[Record]:
        """The images of a split, the unusable ones too, with all their boxes."""

    def file_names(self) -> list[str]:
        """All images on disk, relative to the root; [] where splits are folders."""
        return []

    def choose_splits(self, wanted: Sequence[str] = ()) -> list[str]:
        """The splits asked for, or all there are; raises UserError if one does not exist."""
        available = self.splits()
        for split in wanted:
            if split not in available:
                there = ', '.join(available)
                raise UserError(f'{self.root}: no split {split!r}; there is {there}.')
        return list(dict.fromkeys(wanted)) or available

    def to_coco(
        self, splits: Sequence[str] = (), classes: Sequence[str] = ()
    ) -> tuple[dict[str, dict[str, Any]], dict[str, Tally], list[str]]:
        """Read, check, clip, drop and count.

        Args:
            splits: Which to convert; all unless told.
            classes: Class names in the order of their ids; without them the data set's own, or
                those found in all splits together, sorted.

        Returns:
            The COCO dict of each split, the counts of each, and notes on the whole.

        Raises:
            UserError: If a split is missing or unreadable, or nothing is left to train on.
        """
        chosen = self.choose_splits(splits)
        records = {split: self.records(split) for split in chosen}
        everything = [record for group in records.values() for record in group]
        for record in everything:
            check_image(record, self.root)
        usable = [record for record in everything if not record.problem]
        found = sorted({box.label for record in usable for box in record.boxes} - {None})
        wanted = tuple(classes) or self.classes or found
        results, tallies = {}, {}
        for split, group in records.items():
            results[split], tallies[split] = coco_content(group, (*wanted, *self.regions))
            if not results[split]['images']:
                dropped = tallies[split].dropped_images
                reasons = ', '.join(f'{k}: {v}' for k, v in dropped.items()) or 'none read'
                raise UserError(f'{self.root}: no usable image in the split {split!r} ({reasons}).')
        if not any(tally.boxes[name] for tally in tallies.values() for name in wanted):
            raise UserError(
                f'{self.root}: no box is left of the classes {", ".join(wanted) or "(none)"}; '
                f'the annotations name these classes: {", ".join(found) or "none"}.'
            )
        notes = [f'no box of the class {name!r} was found' for name in wanted if name not in found]
        notes += _overlaps(records)
        if not splits and chosen != [ALL]:
            listed = {record.file_name for record in everything}
            rest = [name for name in self.file_names() if name not in listed]
            if rest:
                notes.append(f'{len(rest)} images are in no split, such as {rest[0]}')
        return results, tallies, notes


def _overlaps(records: dict[str, list[Record]]) -> list[str]:
    """Notes about test images that are trained on."""
    names = {split: {record.file_name for record in group} for split, group in records.items()}
    notes = []
    for training, held_out in (('train', 'val'), ('train', 'test'), ('trainval', 'test')):
        both = names.get(training, set()) & names.get(held_out, set())
        if both:
            where = f'{training} as well as in {held_out}'
            notes.append(f'{len(both)} images are in {where}, such as {min(both)}')
    return notes
