"""The data of the trials: twelve images, upright and across, as the three toolboxes read them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def make_data(root: Path) -> None:
    """Write classes/, images/, labels/ and coco.json into a folder."""
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for folder in ('classes/a', 'classes/b', 'images', 'labels'):
        (root / folder).mkdir(parents=True)
    for number in range(12):
        name, size = f'{number}.png', (64, 48) if number % 3 else (48, 64)
        x, y = 4 + number, 3 + number
        image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        image[y : y + 24, x : x + 24] = number * 20
        labels = np.zeros(size, np.uint8)
        labels[y : y + 24, x : x + 24] = 1
        folder = f'classes/{"ab"[number % 2]}'
        for where, what in {folder: image, 'images': image, 'labels': labels}.items():
            Image.fromarray(what).save(root / where / name)
        images.append(dict(id=number, file_name=name, height=size[0], width=size[1]))
        box = dict(image_id=number, category_id=1 + number % 2, bbox=[x, y, 24, 24])
        boxes.append(dict(box, id=number + 1, area=576, iscrowd=0))
    categories = [dict(id=1, name='a'), dict(id=2, name='b')]
    content = dict(images=images, annotations=boxes, categories=categories)
    (root / 'coco.json').write_text(json.dumps(content))
