"""ADE20K and its like: a folder of images and one of png files with a class at every pixel."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names, save_image
from mmattn.datasets.scenes import Scene

# Unlabelled pixels around the picture where the data set has such pixels (reduce_zero_label).
UNLABELLED_MARGIN = 2


def write(dataset: Any, demo: DemoSplit, scenes: Iterable[Scene] | None = None) -> None:
    """Write images, label maps and, where the config names one, the list of image names."""
    values = _stored_values(dataset, demo.style.categories)
    images = Path(dataset.data_prefix.get('img_path') or '')
    maps = Path(dataset.data_prefix.get('seg_map_path') or '')
    maps.mkdir(parents=True, exist_ok=True)
    # Several splits may share one folder when a list tells them apart.
    prefix = Path(dataset.ann_file).stem if dataset.ann_file else Path(images).name
    names = []
    for index, scene in enumerate(scenes or demo.scenes()):
        names.append(f'{prefix}_{index:08d}')
        save_image(scene, images / (names[-1] + dataset.img_suffix))
        pixels = values[scene.labels]
        if dataset.reduce_zero_label:
            edge = UNLABELLED_MARGIN
            pixels = np.pad(pixels[edge:-edge, edge:-edge], edge)
        Image.fromarray(pixels).save(maps / (names[-1] + dataset.seg_map_suffix))
    if dataset.ann_file:
        Path(dataset.ann_file).write_text('\n'.join(names) + '\n')


def _stored_values(dataset: Any, categories: int) -> np.ndarray:
    """The pixel value of each category: undoes what the dataset does to values on loading."""
    stored = list(range(len(class_names(dataset))))
    if dataset.label_map:
        learnt = (old for old, new in dataset.label_map.items() if new != dataset.ignore_index)
        stored = sorted(learnt, key=dataset.label_map.get)
    return np.array(stored[:categories], np.uint8) + np.uint8(bool(dataset.reduce_zero_label))


DEMO = DemoFormat('segmentation', ('BaseSegDataset',), write)
