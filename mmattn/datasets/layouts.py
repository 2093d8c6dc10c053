"""Which files dataset classes read, and whether what is in them fits the config.

All of it from the config of a data set, before the class is imported or built where possible.
"""

import difflib
import os.path as osp
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmattn.datasets.folders import members
from mmattn.utils.errors import InvalidValue

# Similar enough to be the same name misspelt.
SIMILAR = 0.75
SHOWN = 20


def usual_paths(dataset: dict) -> Iterator[tuple[str, str]]:
    """Yield (path, 'file' or 'folder'): the annotation file and the folders of data_prefix."""
    root = dataset.get('data_root') or ''
    if dataset.get('ann_file'):
        yield osp.join(root, dataset['ann_file']), 'file'
    prefix = dataset.get('data_prefix')
    for folder in prefix.values() if isinstance(prefix, dict) else [prefix or '']:
        if isinstance(folder, str) and osp.join(root, folder):
            yield osp.join(root, folder), 'folder'


def exactly(number: int) -> range:
    """This number of classes and no other."""
    return range(number, number + 1)


def as_many_as_names(dataset: dict, reader: type) -> range | None:
    """As many as the config or the class names; None if they name none."""
    names = class_names(dataset, reader)
    return exactly(len(names)) if names else None


@dataclass(frozen=True)
class Layout:
    """The files that dataset classes read; the functions take a config (and its class)."""

    readers: tuple[str, ...]  # names of the classes; their subclasses count too
    unlike: tuple[str, ...] = ()  # names of subclasses that read other files
    # Yields (path, 'file' or 'folder') of what is needed.
    paths: Callable[[dict], Iterator[tuple[str, str]]] = usual_paths
    # Raises UserError for files that cannot be read or do not fit the class names; yields notes.
    check: Callable[[dict, type], Iterable[str]] = lambda dataset, reader: ()
    # Yields (file, what) of the annotations that a reader leaves out without a word.
    faults: Callable[[dict, type], Iterable[tuple[str, str]]] = lambda dataset, reader: ()
    # The values of num_classes that fit, None if that is not known.
    numbers: Callable[[dict, type], range | None] = as_many_as_names


def nearest(candidates: Iterable[Any], reader: type) -> Any:
    """What belongs to a dataset class, or to its nearest ancestor that reads the same files.

    The candidates have ``readers``, names of dataset classes; None if there is none for this one.
    """
    unlike = {name for layout in members('layout').values() for name in layout.unlike}
    by_reader = {name: each for each in candidates for name in each.readers}
    for ancestor in reader.__mro__:
        if ancestor.__name__ in unlike:
            return None
        if ancestor.__name__ in by_reader:
            return by_reader[ancestor.__name__]
    return None


def paths_of(dataset: dict, kind: str) -> Iterator[tuple[str, str]]:
    """Yield (path, 'file' or 'folder') for what a data set of a type reads."""
    for layout in members('layout').values():
        if kind in layout.readers:
            return layout.paths(dataset)
    return usual_paths(dataset)


def class_names(dataset: dict, reader: type) -> tuple[str, ...] | None:
    """Class names in label order, of a data set's config and class; None if only files tell."""
    metainfo = dict(dataset.get('metainfo') or {})
    if dataset.get('classes') is not None:  # as mmpretrain takes them
        metainfo = {'classes': dataset['classes'], **metainfo}
    names = metainfo.get('classes')
    if isinstance(names, str) and not osp.isfile(osp.expanduser(names)):
        raise InvalidValue(
            f'classes={names!r} of the data set {reader.__name__} is a string and no file of '
            f"names; a single class is written ('{names}',)."
        )
    # Names may come from a file.
    names = reader._load_metainfo(metainfo).get('classes')
    return tuple(names) if names else None


def describe_unknown(missing: Sequence[str], known: Iterable[str]) -> str:
    """What to write instead of names that do not occur."""
    known = sorted(known)
    hints = [f'{near} for {name}' for name in missing if (near := similar(name, known))]
    text = f'Did you mean {", ".join(hints)}? ' if hints else ''
    return f'{text}There is {listed(known) or "none"}.'


def similar(name: str, known: Iterable[str]) -> str | None:
    """The known name that is meant, case left aside; None if none is similar."""
    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=SIMILAR)
    return folded[near[0]] if near else None


def listed(names: Sequence[Any]) -> str:
    """Names for a message, the first few of many."""
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(map(str, names[:SHOWN])) + more
