"""Where mmpretrain's CIFAR10 and CIFAR100 look for their files."""

import os.path as osp
from collections.abc import Iterator

from mmattn.datasets.cifar10.guide import FOLDER
from mmattn.datasets.cifar100.guide import FOLDER as FOLDER_OF_100
from mmattn.datasets.layouts import Layout
from mmattn.utils.walk import type_name


def paths(dataset: dict) -> Iterator[tuple[str, str]]:
    """Yield the folder of the batches, unless the config asks to download them."""
    # Only a config that asks for it by name is left to download by itself.
    if dataset.get('download') is not True:
        folder = FOLDER_OF_100 if type_name(dataset).endswith('CIFAR100') else FOLDER
        root = dataset.get('data_root') or ''
        yield osp.join(root, dataset.get('data_prefix') or '', folder), 'folder'


LAYOUT = Layout(('CIFAR10', 'GeneratedCIFAR10', 'CIFAR100', 'GeneratedCIFAR100'), paths=paths)
