"""VOC-style trees: where the files lie, and whether the xml files name the classes."""

import os.path as osp
from collections.abc import Iterator
from pathlib import Path

from mmattn.datasets.boxes import CLIPPED, clean_box
from mmattn.datasets.layouts import Layout, class_names, describe_unknown, listed, similar
from mmattn.datasets.voc.converter import parse_xml, read_split_file
from mmattn.utils.errors import UserError

# Files after which classes that were not seen yet are taken for rare.
ENOUGH = 1000
# Pixels of a side that nobody knows.
MOST = 10**6


def paths(dataset: dict) -> Iterator[tuple[str, str]]:
    """Yield the list of a split, the folder of the xml files, and that of the images."""
    root = dataset.get('data_root') or ''
    if dataset.get('ann_file'):
        yield osp.join(root, dataset['ann_file']), 'file'
    prefix = dataset.get('data_prefix') or ''
    tree = prefix.get('sub_data_root', '') if isinstance(prefix, dict) else prefix
    yield osp.join(root, tree, dataset.get('ann_subdir', 'Annotations')), 'folder'
    yield osp.join(root, tree, dataset.get('img_subdir', 'JPEGImages')), 'folder'


def check(dataset: dict, reader: type) -> Iterator[str]:
    """Refuse class names of which no box, or only a box of a similar name, is in the xml files.

    Reads no more files than it needs to see every class, as a rule a few hundred.
    """
    wanted = class_names(dataset, reader) or ()
    *split, (folder, _), _ = paths(dataset)
    files = Path(osp.expanduser(folder)).glob('*.xml')
    if split:
        names = read_split_file(Path(osp.expanduser(split[0][0])))
        files = (Path(osp.expanduser(folder), f'{name}.xml') for name in names)
    seen: set[str | None] = set()
    for number, file in enumerate(files, start=1):
        if file.is_file():
            seen |= {box.label for box in parse_xml(file).boxes}
        if seen.issuperset(wanted) or (number >= ENOUGH and not seen.isdisjoint(wanted)):
            return
    others = seen - {None} - set(wanted)
    missing = [name for name in wanted if name not in seen]
    text = f'no xml file in {folder} has a box of the class {listed(missing)}'
    if others and (len(missing) == len(wanted) or any(similar(name, others) for name in missing)):
        raise UserError(f'{text}. {describe_unknown(missing, seen - {None})}')
    if others:
        yield f'{text}; not asked for: {listed(sorted(others))}.'


def faults(dataset: dict, reader: type) -> Iterator[tuple[str, str]]:
    """Yield (file, what) of every xml file and box that is left out without a word."""
    *_, (folder, _), _ = paths(dataset)
    for file in sorted(Path(osp.expanduser(folder)).glob('*.xml')):
        try:
            record = parse_xml(file)
        except UserError as error:
            yield str(file), str(error)
            continue
        for box in record.boxes:
            # Of an image of unknown size; that of the image is seen when it is read.
            size = record.width or MOST, record.height or MOST
            label = box.label or None
            _, why = clean_box(box, *size, (label,))
            if why not in ('', CLIPPED):
                yield str(file), f'{why} ({label} {box.corners})'


LAYOUT = Layout(
    ('XMLDataset', 'VOCDataset'),
    unlike=('WIDERFaceDataset',),
    paths=paths,
    check=check,
    faults=faults,
)
