"""COCO annotations: reading them, laying out records as such, writing them to disk."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmattn.datasets.boxes import Record, Tally, clean_record, read_lines
from mmattn.utils.errors import UserError
from mmattn.utils.files import write_whole

# Thousandths of a pixel; more digits are noise of the binary representation.
DIGITS = 3
LISTS = ('images', 'annotations', 'categories')
EXPECTED = 'a COCO file has images, annotations and categories, lists of dicts'


def read_classes(given: Sequence[str]) -> tuple[str, ...]:
    """Class names from a command line: the names, or the one file that lists them.

    Raises UserError if a name is given twice or the file holds none.
    """
    names = [name.strip() for name in given]
    if len(given) == 1 and Path(given[0]).is_file():
        names = read_lines(Path(given[0]))
        if not names:
            raise UserError(f'{given[0]} holds no class name; one a line is expected.')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f'classes given twice: {", ".join(twice)}.')
    return tuple(names)


def coco_content(records: Iterable[Record], classes: Sequence[str]) -> tuple[dict[str, Any], Tally]:
    """Clip, drop and count, and lay out as COCO.

    Ids begin at 1: pycocotools takes an annotation with the id 0 for 'no match'. Those of the
    categories follow the classes. ``segmentation`` is empty, since a box is no mask.

    Returns:
        The COCO dict (``bbox`` is x, y, width, height in pixels) and the counts.
    """
    tally = Tally()
    category_ids = {name: index for index, name in enumerate(classes, start=1)}
    images, annotations = [], []
    for record in records:
        boxes = clean_record(record, classes, tally)
        if boxes is None:
            continue
        images.append(
            dict(
                id=len(images) + 1,
                file_name=record.file_name,
                width=record.width,
                height=record.height,
            )
        )
        for box in boxes:
            x1, y1, x2, y2 = box.corners
            bbox = [_number(value) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=len(images),
                    category_id=category_ids[box.label],
                    bbox=bbox,
                    area=_number(bbox[2] * bbox[3]),
                    iscrowd=int(box.crowd),
                    segmentation=[],
                )
            )
    tally.check()
    categories = [dict(id=index, name=name) for name, index in category_ids.items()]
    return dict(images=images, annotations=annotations, categories=categories), tally


def _number(value: float) -> int | float:
    value = round(value, DIGITS)
    return int(value) if value == int(value) else value


def read_json(path: Path, lists: Sequence[str] = LISTS) -> dict[str, Any]:
    """The content of a COCO json file with at least these lists of dicts.

    Raises UserError if it is no json, or a list is missing or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path}: not json (cut off?): {error}.') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read: {error.strerror}.') from error
    if not isinstance(content, dict):
        raise UserError(f'{path}: {EXPECTED}, not {type(content).__name__}.')
    for key in LISTS:
        if not isinstance(content.get(key), list) and (key in content or key in lists):
            what = f'{key!r} is {content[key]!r:.40}' if key in content else f'no list {key!r}'
            raise UserError(f'{path}: {what}; {EXPECTED}.')
        for index, each in enumerate(content.get(key, ())):
            if not isinstance(each, dict):
                raise UserError(f'{path}: {key}[{index}] is {each!r:.40}; {EXPECTED}.')
    return content


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write all of the file or nothing: an interruption leaves what was there before."""
    write_whole(path, json.dumps(data, ensure_ascii=False))
