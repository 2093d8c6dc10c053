"""FLIR ADAS v2: grey images and a coco.json in each split's folder; read through its converter."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, convert_split, save_image
from mmattn.datasets.flir.converter import ANNOTATIONS, FOLDERS, FLIRConverter


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the split's own folder below data_root, and dataset.ann_file out of it."""
    split = Path(dataset.ann_file).stem
    folder = Path(dataset.data_root) / FOLDERS[split]
    names = class_names(dataset)
    images, annotations = [], []
    for index, scene in enumerate(demo.scenes()):
        grey = scene.image.mean(axis=2).astype(np.uint8)
        name = f'data/{index:05d}.jpg'
        save_image(dataclasses.replace(scene, image=grey), folder / name)
        height, width = grey.shape
        images.append(dict(id=index, file_name=name, width=width, height=height))
        for item in scene.objects:
            x1, y1, x2, y2 = (round(value) for value in item.box)
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=index,
                    category_id=item.category + 1,
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                )
            )
    # As in the original, there are names without a box.
    categories = [dict(id=i, name=name) for i, name in enumerate([*names, 'airplane'], 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / ANNOTATIONS).write_text(json.dumps(content))
    convert_split(FLIRConverter(dataset.data_root), split, dataset)


DEMO = DemoFormat('detection', ('FLIRDataset',), write)
