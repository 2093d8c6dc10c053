"""ExDark: dark images and bbGt files in a folder a class; read through its converter."""

import dataclasses
from pathlib import Path
from typing import Any

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, convert_split, save_image
from mmattn.datasets.exdark import converter

BRIGHTNESS = 0.4
COLUMNS = 'Name | Class | Light | In/Out | Train/Val/Test'


def write(dataset: Any, demo: DemoSplit) -> None:
    """Add a split to the folders and the list below data_root, and write dataset.ann_file."""
    split = Path(dataset.ann_file).stem
    root = Path(dataset.data_root)
    names = class_names(dataset)
    number = converter.SPLITS.index(split) + 1
    rows = []
    # One class an image, after which its folder is named.
    for index, scene in enumerate(demo.scenes(cycle=True)):
        labels = [names[item.category] for item in scene.objects]
        # All splits share the folders, so that the split is part of the name.
        name = f'{split}_{index:05d}.jpg'
        dark = dataclasses.replace(scene, image=(scene.image * BRIGHTNESS).astype('uint8'))
        save_image(dark, root / converter.IMAGES / labels[0] / name)
        lines = [converter.HEADER]
        for item, label in zip(scene.objects, labels, strict=True):
            x1, y1, x2, y2 = (round(value) for value in item.box)
            lines.append(f'{label} {x1} {y1} {x2 - x1} {y2 - y1} 0 0 0 0 0 0 0')
        path = root / converter.ANNOTATIONS / labels[0] / f'{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines) + '\n')
        rows.append(f'{name} {converter.CLASSES.index(labels[0]) + 1} 1 1 {number}')
    list_file = root / converter.LIST
    before = list_file.read_text() if list_file.is_file() else COLUMNS + '\n'
    list_file.write_text(before + '\n'.join(rows) + '\n')
    convert_split(converter.ExDarkConverter(root), split, dataset)


DEMO = DemoFormat('detection', ('ExDarkDataset',), write)
