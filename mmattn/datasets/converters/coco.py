"""COCO annotations out of records, and writing them to disk."""

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmattn.datasets.converters.boxes import Record, Tally, clean_record
from mmattn.engine.errors import UserError

# Thousandths of a pixel; more digits are noise of the binary representation.
DIGITS = 3


def collect_classes(records: Iterable[Record]) -> tuple[str, ...]:
    """Class names of all boxes on usable images, sorted."""
    names = {box.label for record in records if not record.problem for box in record.boxes}
    return tuple(sorted(names - {None}))


def read_classes(given: Sequence[str]) -> tuple[str, ...]:
    """Class names from a command line: the names, or the one file that lists them.

    Raises:
        UserError: If a name is given twice or the file holds none.
    """
    names = [name.strip() for name in given]
    if len(given) == 1 and Path(given[0]).is_file():
        lines = Path(given[0]).read_text(encoding='utf-8-sig').splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if not names:
            raise UserError(f'{given[0]} holds no class name; one a line is expected.')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f'classes given twice: {", ".join(twice)}.')
    return tuple(names)


def to_coco(records: Iterable[Record], classes: Sequence[str]) -> tuple[dict[str, Any], Tally]:
    """Clip, drop and count, and lay out as COCO.

    Ids begin at 1: pycocotools takes an annotation with the id 0 for 'no match'.
    ``segmentation`` is empty, since a box is no mask.

    Args:
        records: Images whose size is known, see ``check_images``.
        classes: Class names; category ids follow their order.

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


def refuse_existing(paths: Iterable[Path], force: bool) -> None:
    """Raise UserError, before any work, if one of the outputs is there already."""
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise UserError(f'{", ".join(existing)} exists already; --force overwrites.')


def write_json(data: dict[str, Any], path: Path) -> None:
    """Write all of the file or nothing: an interruption leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        'w', encoding='utf-8', dir=path.parent, prefix=f'.{path.name}.', delete=False
    ) as file:
        try:
            json.dump(data, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
            # Temporary files are private; the result gets what the umask gives any file.
            os.chmod(file.name, 0o666 & ~_umask())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
