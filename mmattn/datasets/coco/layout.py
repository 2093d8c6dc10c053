"""COCO json files: whether they can be read, and whether they have the config's classes."""

import json
import mmap
import os.path as osp
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mmattn.datasets.boxes import CLIPPED, Box, clean_box, corners_of
from mmattn.datasets.coco_json import read_json
from mmattn.datasets.layouts import Layout, class_names, describe_unknown, listed, usual_paths
from mmattn.utils.errors import UserError
from mmattn.utils.paths import leads_elsewhere, require_inside

# Larger files are looked at, not parsed: the data set is going to, and that takes seconds.
LARGE = 64 * 2**20
END = 2**20
ID, NUMBER = (int, str), (int, float)
# What mmdet reads of each entry.
FIELDS = dict(
    images=dict(id=ID, file_name=str, width=NUMBER, height=NUMBER),
    annotations=dict(id=ID, image_id=ID, category_id=ID, bbox=list, area=NUMBER),
    categories=dict(id=ID, name=str),
)


def check(dataset: dict, reader: type) -> Iterator[str]:
    """Refuse a file that cannot be read, or that lacks the class names."""
    (file, _), *folders = usual_paths(dataset)
    path = Path(file).expanduser()
    training = not dataset.get('test_mode', False)
    categories, odd = read_content(path, path.stat().st_mtime, training)
    folders = [folder for folder, _ in folders] + [dataset.get('data_root') or '']
    for name in odd if any(folders) else ():
        require_inside(osp.join(folders[0], name), filter(None, folders))
    wanted = class_names(dataset, reader) or ()
    missing = [name for name in wanted if name not in categories]
    named = (dataset.get('metainfo') or {}).get('classes')
    text = f'{path} has no category {listed(missing)}'
    # Their labels would be those of other classes.
    if missing and (named or len(missing) == len(wanted)):
        raise UserError(
            f'{text}. {describe_unknown(missing, categories)} metainfo=dict(classes=(...)) of the '
            'data set names its classes.'
        )
    if missing:
        yield f'{text}; these classes of {reader.__name__} are not learnt.'
    # A set of images without any annotation may be one of several.
    used = any(categories.values())
    if training and wanted and used and not any(map(categories.get, wanted)):
        raise UserError(f'{path} has no annotation of the classes {listed(wanted)}.')


class Content(NamedTuple):
    """What a file holds."""

    categories: dict[str, bool]  # by name, whether there are annotations, which training needs
    odd: list[str]  # names of images that may lead elsewhere; of a large file none


@lru_cache
def read_content(path: Path, modified: float, training: bool) -> Content:
    """Look through a file; one modified at another time is read again.

    Raises:
        UserError: If it is not such a file; names it.
    """
    if path.stat().st_size > LARGE:
        categories = _look_into(path)
        if categories:
            return Content({each['name']: True for each in categories}, [])
    content = read_json(path, ('images', 'categories', 'annotations')[: 2 + training])
    for key, fields in FIELDS.items():
        for index, entry in enumerate(content.get(key, ())):
            for field, kind in fields.items():
                if not isinstance(entry.get(field), kind) and not entry.get('ignore'):
                    what = repr(entry[field])[:40] if field in entry else 'missing'
                    raise UserError(f'{path}: {field!r} of {key}[{index}] is {what}.')
            if key == 'annotations' and not entry.get('ignore') and not _is_box(entry['bbox']):
                raise UserError(
                    f"{path}: 'bbox' of {key}[{index}] is {entry['bbox']!r:.60}; expected "
                    'x, y, width, height.'
                )
    used = {each['category_id'] for each in content.get('annotations', ())}
    names = [each['file_name'] for each in content['images'] if 'file_name' in each]
    categories = {each['name']: each['id'] in used for each in content['categories']}
    return Content(categories, [name for name in names if leads_elsewhere(name)])


def _is_box(value: list[Any]) -> bool:
    return len(value) == 4 and all(isinstance(each, NUMBER) for each in value)


def _look_into(path: Path) -> list[dict] | None:
    """The categories of a large file, found near its ends; None if it looks odd or cut off."""
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        ends = text[:END], text[-END:]
    if not b''.join(ends[1].split()).endswith(b'}]}'):
        return None
    for end in ends:
        after = end.rpartition(b'"categories"')[2].decode(errors='ignore').lstrip(' :\r\n\t')
        try:
            found, _ = json.JSONDecoder().raw_decode(after)
        except ValueError:
            continue
        if isinstance(found, list) and all(isinstance(c, dict) and 'name' in c for c in found):
            return found
    return None


def faults(dataset: dict, reader: type) -> Iterator[tuple[str, str]]:
    """Yield (file, what) of every annotation that mmdet leaves out without a word."""
    path = Path(next(usual_paths(dataset))[0]).expanduser()
    content = read_json(path, ('images', 'categories'))
    sizes = {each.get('id'): (each.get('width'), each.get('height')) for each in content['images']}
    if len(sizes) < len(content['images']):
        yield str(path), f'{len(content["images"]) - len(sizes)} images have the id of another'
    categories = {each.get('id') for each in content['categories']}
    for each in content.get('annotations', ()):
        why = '' if each.get('category_id') in categories else 'its category is not in the file'
        if each.get('image_id') not in sizes:
            why = 'its image is not in the file'
        elif not why:
            bbox = each.get('bbox')
            box = Box('', corners_of(bbox) if isinstance(bbox, list) else None)
            _, why = clean_box(box, *sizes[each['image_id']], ('',))
        if why not in ('', CLIPPED):
            yield str(path), f'annotation {each.get("id")}: {why} (bbox {each.get("bbox")})'


LAYOUT = Layout(
    ('CocoDataset',),
    unlike=('CocoPanopticDataset', 'LVISV05Dataset', 'LVISV1Dataset', 'V3DetDataset'),
    check=check,
    faults=faults,
)
