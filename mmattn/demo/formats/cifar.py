"""CIFAR-10 and CIFAR-100: pickled rows of 3 x 32 x 32 values.

The toolbox compares the files with the MD5 sums of the real ones; generated files are read by the
subclasses in cifar_datasets.py, which differ in nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from .base import Format, Part, class_names

MODULE = 'mmattn.demo.formats.cifar_datasets'


def write(dataset: object, part: Part) -> None:
    """Writes the batches of the dataset's split and the file of class names."""
    folder = Path(dataset.data_prefix['root']) / dataset.base_folder
    folder.mkdir(parents=True, exist_ok=True)
    categories = part.style.categories
    scenes = [scene.image for scene in part.scenes(cycle=True)]
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


def adapt(dataset: object, cfg: dict, categories: int) -> list[str]:
    """Names the type that reads generated files."""
    name = 'CIFAR100' if dataset.meta['key'].startswith('fine') else 'CIFAR10'
    cfg.update(type=f'Generated{name}', download=False)
    return [f'{name} is read by Generated{name}, which asks for no MD5 sums']


FORMAT = Format('classification', ('CIFAR10', 'CIFAR100'), write, adapt, size=(32, 32))
