"""Reading FLIR ADAS v2: COCO json files that are to be cleaned.

Each of six folders has its own coco.json, which names 80 categories (COCO's, some renamed) of
which 16 have boxes: the fifteen of the release notes, and 'deer'. The file names in it begin with
data/. Categories are told by their names.
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from mmattn.datasets.boxes import Box, Record, corners_of
from mmattn.datasets.coco_json import read_json
from mmattn.datasets.converters import Converter
from mmattn.utils.errors import UserError

CLASSES = (
    'person', 'bike', 'car', 'motor', 'bus', 'train', 'truck', 'light', 'hydrant', 'sign',
    'dog', 'deer', 'skateboard', 'stroller', 'scooter', 'other vehicle',
)  # fmt: skip
FOLDERS = {
    'thermal_train': 'images_thermal_train',
    'thermal_val': 'images_thermal_val',
    'thermal_test': 'video_thermal_test',
    'rgb_train': 'images_rgb_train',
    'rgb_val': 'images_rgb_val',
    'rgb_test': 'video_rgb_test',
}
ANNOTATIONS = 'coco.json'

NO_ENTRY = 'annotated, but not in the list of images'


class FLIRConverter(Converter):
    """FLIR's own folders, such as images_thermal_train, below ``root``; UserError if none."""

    classes = CLASSES

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        if not self.splits():
            raise UserError(
                f'{self.root} holds no FLIR ADAS v2 data: expected images_thermal_train/'
                f'{ANNOTATIONS} and images_thermal_train/data/*.jpg, and the same for others of '
                f'{", ".join(FOLDERS.values())}.'
            )

    def splits(self) -> list[str]:
        """Those of the six folders that hold a coco.json."""
        return [n for n, folder in FOLDERS.items() if (self.root / folder / ANNOTATIONS).is_file()]

    def records(self, split: str) -> list[Record]:
        """The listed images; annotations of unlisted ones come with a problem."""
        folder = FOLDERS[split]
        path = self.root / folder / ANNOTATIONS
        content = read_json(path)
        names = [image.get('file_name') for image in content['images']]
        ids = Counter(_id(image, 'id') for image in content['images'])
        named = all(isinstance(name, str) and name for name in names)
        if not named or None in ids or max(ids.values(), default=1) > 1:
            raise UserError(f'{path}: every image needs a file_name and an id of its own.')
        labels = {_id(each, 'id'): _name(each.get('name')) for each in content['categories']}
        labels[None] = None
        boxes = defaultdict(list)
        for annotation in content['annotations']:
            label = labels.get(_id(annotation, 'category_id'))
            bbox = annotation.get('bbox')
            corners = corners_of(bbox) if isinstance(bbox, list) else None
            box = Box(label, corners, bool(annotation.get('iscrowd')))
            boxes[_id(annotation, 'image_id')].append(box)
        records = []
        for image, name in zip(content['images'], names, strict=True):
            size = image.get('width'), image.get('height')
            own = boxes.pop(image['id'], [])
            records.append(Record(Path(name).stem, f'{folder}/{name}', *size, own))
        for key, rest in boxes.items():
            records.append(Record(f'image {key}', '', boxes=rest, problem=NO_ENTRY))
        return records


def _id(entry: dict[str, Any], key: str) -> int | str | None:
    value = entry.get(key)
    return value if isinstance(value, (int, str)) else None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


CONVERTER = FLIRConverter
