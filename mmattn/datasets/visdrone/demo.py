"""VisDrone: a text file an image, eight comma-separated columns; read through its converter."""

from pathlib import Path
from typing import Any

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, convert_split, save_image
from mmattn.datasets.scenes import SceneObject
from mmattn.datasets.visdrone.converter import IGNORED_REGION, LABELS, VisDroneConverter

# Every so many images an object is left unlabelled, and an ignored region covers it.
REGION_EVERY = 4


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the split's own folder below data_root, and dataset.ann_file out of it."""
    split = Path(dataset.ann_file).stem
    folder = Path(dataset.data_root) / f'VisDrone2019-DET-{split}'
    (folder / 'annotations').mkdir(parents=True, exist_ok=True)
    names = class_names(dataset)
    for index, scene in enumerate(demo.scenes()):
        save_image(scene, folder / 'images' / f'{index:07d}.jpg')
        labels = [names[item.category] for item in scene.objects]
        if index % REGION_EVERY == 0 and len(labels) > 1:
            labels[-1] = IGNORED_REGION
        rows = [_row(item, label) for item, label in zip(scene.objects, labels, strict=True)]
        # Some of the original files end their lines with a comma.
        text = ''.join(row + ',' * (index % 2) + '\n' for row in rows)
        (folder / 'annotations' / f'{index:07d}.txt').write_text(text)
    convert_split(VisDroneConverter(dataset.data_root), split, dataset)


def _row(item: SceneObject, label: str) -> str:
    x1, y1, x2, y2 = (round(value) for value in item.box)
    score = int(label != IGNORED_REGION)
    return f'{x1},{y1},{x2 - x1},{y2 - y1},{score},{LABELS.index(label)},0,0'


DEMO = DemoFormat('detection', ('VisDroneDataset',), write)
