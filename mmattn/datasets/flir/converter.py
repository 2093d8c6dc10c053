"""Reading FLIR ADAS v2: COCO json files that are to be cleaned.

Each of six folders has its own coco.json, which names 80 categories (COCO's, some
renamed) of which 16 have boxes: the fifteen of the release notes, and 'deer'. The
file names in it begin with data/. Categories are told by their names.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

from mmattn.datasets.boxes import Box, Record
from mmattn.datasets.coco_json import read_json, refuse_duplicate_images
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
    """A folder with FLIR's own folders, such as images_thermal_train.

    Args:
        root: Folder that holds them.

    Raises:
        UserError: If there is none.
    """

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
        return [name for name, folder in FOLDERS.items() if self._json(folder).is_file()]

    def _json(self, folder: str) -> Path:
        return self.root / folder / ANNOTATIONS

    def records(self, split: str) -> list[Record]:
        """The listed images; annotations of unlisted ones come with a problem."""
        folder = FOLDERS[split]
        path = self._json(folder)
        content = read_json(path)
        refuse_duplicate_images(content, path)
        labels = {category['id']: category['name'] for category in content['categories']}
        boxes = defaultdict(list)
        for annotation in content['annotations']:
            boxes[annotation.get('image_id')].append(
                Box(
                    labels.get(annotation.get('category_id')),
                    _corners(annotation.get('bbox')),
                    crowd=bool(annotation.get('iscrowd')),
                )
            )
        records = [
            Record(
                Path(image['file_name']).stem,
                f'{folder}/{image["file_name"]}',
                image.get('width'),
                image.get('height'),
                boxes.pop(image['id'], []),
            )
            for image in content['images']
        ]
        for key, rest in boxes.items():
            records.append(Record(f'image {key}', '', boxes=rest, problem=NO_ENTRY))
        return records


def _corners(bbox: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not all(isinstance(value, (int, float)) for value in bbox):
        return None
    left, top, width, height = bbox
    return left, top, left + width, top + height


CONVERTER = FLIRConverter
