"""CIFAR-10, and CIFAR-100 whose class inherits from it: pickled rows of 3 x 32 x 32 values.

The toolbox compares the files with the MD5 sums of the real ones; generated files are read by the
subclasses in reader.py, which differ in nothing else.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.datasets.demos import DemoFormat, DemoSplit, class_names


def write(dataset: Any, demo: DemoSplit) -> None:
    """Write the batches of the dataset's split and the file of class names."""
    folder = Path(dataset.data_prefix['root']) / dataset.base_folder
    folder.mkdir(parents=True, exist_ok=True)
    categories = demo.style.categories
    scenes = [scene.image for scene in demo.scenes(cycle=True)]
    rows = np.stack(scenes).transpose(0, 3, 1, 2).reshape(len(scenes), -1)
    labels = np.arange(len(scenes)) % categories
    fine = dataset.meta['key'].startswith('fine')
    files = dataset.train_list if dataset.split == 'train' else dataset.test_list
    chunks = np.array_split(np.arange(len(scenes)), len(files))
    for (name, _), chunk in zip(files, chunks, strict=True):
        content = {'data': rows[chunk], 'fine_labels' if fine else 'labels': labels[chunk].tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {dataset.meta['key']: class_names(dataset)}
    (folder / dataset.meta['filename']).write_bytes(pickle.dumps(meta, protocol=2))


def adapt(dataset: Any, cfg: dict, categories: int) -> list[str]:
    """Name the type that reads generated files."""
    name = 'CIFAR100' if dataset.meta['key'].startswith('fine') else 'CIFAR10'
    cfg.update(type=f'mmattn.Generated{name}', download=False)
    return [f'{name} is read by mmattn.Generated{name}, which asks for no MD5 sums']


DEMO = DemoFormat('classification', ('CIFAR10',), write, adapt, size=(32, 32))
