"""FLIR ADAS v2: grey images and a coco.json in each split's folder; read through its converter."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from mmattn.datasets.converters import FLIRSource
from mmattn.datasets.converters.flir import ANNOTATIONS, FOLDERS

from .base import Format, Part, class_names, convert_split, save_image


def write(dataset: object, part: Part) -> None:
    """Writes the split's own folder below data_root, and dataset.ann_file out of it."""
    split = Path(dataset.ann_file).stem
    folder = Path(dataset.data_root) / FOLDERS[split]
    names = class_names(dataset)
    images, annotations = [], []
    for index, scene in enumerate(part.scenes()):
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
    convert_split(FLIRSource(dataset.data_root), split, dataset)


FORMAT = Format('detection', ('FLIRDataset',), write)
