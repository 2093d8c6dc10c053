"""What is known of each data set: its source, how its folder has to look, what to count in it.

``python -m mmattn data NAME`` prints it; the message about missing data is built from the
same facts. Nothing but the standard library is imported, so that it runs without a stack.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache

from mmattn.datasets.counting import Count, files
from mmattn.datasets.folders import members
from mmattn.utils.errors import UnknownName, did_you_mean


@dataclass(frozen=True)
class Countable:
    """Something of a data set that can be counted in its folder."""

    what: str
    expected: int | None  # None: any number
    count: Count
    needed: bool = True  # by the shipped configs


@dataclass(frozen=True)
class Guide:
    """Where a data set comes from and how it has to lie on the disk."""

    title: str
    source: str  # and on which conditions
    size: str  # of the download
    root: str  # default folder of the shipped configs, DATA_ROOT below
    tree: tuple[str, ...]  # the expected files below DATA_ROOT, one line each
    contents: tuple[Countable, ...]
    prepare: str = ''  # command to run once the files are there
    readers: tuple[str, ...] = ()  # what the names of the dataset classes that read it begin with
    name: str = ''  # that of its folder, filled in by guides()

    @property
    def layout(self) -> str:
        """Title, source and tree."""
        tree = [f'    {line}' for line in self.tree]
        lines = [f'{self.title}, from {self.source}:', '  DATA_ROOT/', *tree]
        if self.prepare:
            lines.append(f'  then: {self.prepare}')
        return '\n'.join(lines)


@cache
def guides() -> dict[str, Guide]:
    """The guides by the names of the data sets."""
    return {name: dataclasses.replace(guide, name=name) for name, guide in members('guide').items()}


def find_guide(name: str) -> Guide:
    """The guide of the data set of a name; raises UnknownName with the nearest if there is none."""
    known = guides()
    if name.lower() in known:
        return known[name.lower()]
    hint = did_you_mean(name.lower(), known, most=1)
    raise UnknownName(f'no data set {name!r} is known.{hint} There is {", ".join(known)}.')


def guide_of_reader(reader: str) -> Guide | None:
    """The guide of what the dataset class of this name reads, as far as that is known."""
    by_start = {start: guide for guide in guides().values() for start in guide.readers}
    fitting = filter(reader.startswith, by_start)
    # CIFAR100 begins with CIFAR10.
    return by_start.get(max(fitting, key=len, default=None))


def converted(*splits: str) -> tuple[Countable, ...]:
    """The json files that a converter writes."""
    names = [f'coco/{split}.json' for split in splits]
    return tuple(Countable(name, 1, files(name)) for name in names)
