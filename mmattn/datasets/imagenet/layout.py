"""Classification data: one folder a class, or a list of images and labels."""

import os
import os.path as osp
import sys
from collections.abc import Iterator
from pathlib import Path

from mmattn.datasets.layouts import Layout, class_names, exactly, listed, usual_paths
from mmattn.utils.errors import UserError


def paths(dataset: dict) -> Iterator[tuple[str, str]]:
    """Yield the list, if there is one, and the folder of the images."""
    # mmpretrain's ImageNet takes the folder from its split.
    prefix = dataset.get('data_prefix') or dataset.get('split', '')
    return usual_paths({**dataset, 'data_prefix': prefix})


def check(dataset: dict, reader: type) -> Iterator[str]:
    """Refuse folders that are more or fewer than the classes, or in another order."""
    names, folders = class_names(dataset, reader), _folders(dataset)
    *_, (root, _) = paths(dataset)
    if folders and names and len(folders) != len(names):
        raise UserError(
            f'{root} holds {len(folders)} folders, one a class: {listed(folders)}; the data set '
            f'has {len(names)} class names: {listed(names)}. metainfo=dict(classes=(...)) names '
            'the classes.'
        )
    if folders and names and list(names) != folders == sorted(names):
        raise UserError(
            f'the labels of {root} follow its folders in alphabetical order: {listed(folders)}; '
            f'the class names are in another: {listed(names)}.'
        )
    return iter(())


def numbers(dataset: dict, reader: type) -> range | None:
    """As many as there are class names or else folders; more than the labels of a list."""
    names = class_names(dataset, reader) or _folders(dataset)
    if names:
        return exactly(len(names))
    if dataset.get('ann_file') and dataset.get('with_label', True):
        path = Path(dataset.get('data_root') or '', dataset['ann_file'])
        return range(_greatest_label(path) + 1, sys.maxsize)
    return None


def _folders(dataset: dict) -> list[str]:
    """Names of the folders that stand for the classes; [] if a list tells the labels."""
    # mmpretrain's ImageNet takes this list if it is there.
    meta = osp.join(dataset.get('data_root') or '', 'meta', f'{dataset.get("split")}.txt')
    if dataset.get('ann_file') or osp.isfile(meta) or not dataset.get('with_label', True):
        return []
    *_, (root, _) = paths(dataset)
    with os.scandir(osp.expanduser(root)) as entries:
        return sorted(each.name for each in entries if each.is_dir() and each.name[0] != '.')


def _greatest_label(path: Path) -> int:
    labels = [-1]
    try:
        rows = path.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: not UTF-8 text: {error}') from error
    for number, row in enumerate(rows, start=1):
        label = row.strip().rsplit(' ', 1)[-1]
        if not label.isdecimal():
            raise UserError(f'{path}, line {number}: {row!r}; expected an image, a space, a label.')
        labels.append(int(label))
    return max(labels)


LAYOUT = Layout(
    ('CustomDataset', 'ImageNet', 'ImageNet21k'), paths=paths, check=check, numbers=numbers
)
