"""Where mmpretrain's CIFAR10 looks for its files."""

import os.path as osp
from collections.abc import Callable, Iterator

from mmattn.datasets.cifar10.guide import FOLDER
from mmattn.datasets.layouts import Layout


def batches_in(folder: str) -> Callable[[dict], Iterator[tuple[str, str]]]:
    """What yields the folder of the batches, unless the config asks to download them."""

    def paths(dataset: dict) -> Iterator[tuple[str, str]]:
        # Only a config that asks for it by name is left to download by itself.
        if dataset.get('download') is not True:
            root = dataset.get('data_root') or ''
            yield osp.join(root, dataset.get('data_prefix') or '', folder), 'folder'

    return paths


LAYOUT = Layout(('CIFAR10', 'GeneratedCIFAR10'), paths=batches_in(FOLDER))
