"""FLIR ADAS v2: grey images and a coco.json in each split's folder; read through its converter."""

import dataclasses
from pathlib import Path
from typing import Any

from mmattn.datasets.coco_json import coco_content, write_json
from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, convert_split, save_scene
from mmattn.datasets.flir.converter import ANNOTATIONS, FOLDERS, FLIRConverter


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the split's own folder below data_root, and dataset.ann_file out of it."""
    split = Path(dataset.ann_file).stem
    folder = Path(dataset.data_root) / FOLDERS[split]
    # As in the original, there are names without a box.
    names = [*class_names(dataset), 'airplane']
    records = []
    for index, scene in enumerate(demo.scenes()):
        grey = dataclasses.replace(scene, image=scene.image.mean(axis=2).astype('uint8'))
        records.append(save_scene(grey, folder, f'data/{index:05d}.jpg', names))
    write_json(coco_content(records, names)[0], folder / ANNOTATIONS)
    convert_split(FLIRConverter(dataset.data_root), split, dataset)


DEMO = DemoFormat('detection', ('FLIRDataset',), write)
