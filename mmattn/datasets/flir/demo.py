"""FLIR ADAS v2: grey images and a coco.json in each split's folder; read through its converter."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.datasets.coco.demo import write_images
from mmattn.datasets.coco_json import write_json
from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, convert_split
from mmattn.datasets.flir.converter import ANNOTATIONS, FOLDERS, FLIRConverter


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the split's own folder below data_root, and dataset.ann_file out of it."""
    split = Path(dataset.ann_file).stem
    folder = Path(dataset.data_root) / FOLDERS[split]
    grey = (
        dataclasses.replace(scene, image=scene.image.mean(axis=2).astype(np.uint8))
        for scene in demo.scenes()
    )
    # As in the original, there are names without a box.
    names = [*class_names(dataset), 'airplane']
    write_json(write_images(grey, folder, 'data/{:05d}.jpg', names), folder / ANNOTATIONS)
    convert_split(FLIRConverter(dataset.data_root), split, dataset)


DEMO = DemoFormat('detection', ('FLIRDataset',), write)
