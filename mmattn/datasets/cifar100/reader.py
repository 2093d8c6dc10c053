"""CIFAR-100 as the demo writes it."""

from mmpretrain.datasets import CIFAR100

from mmattn.datasets.cifar10.reader import Unchecked
from mmattn.registry import DATASETS


@DATASETS.register_module()
class GeneratedCIFAR100(Unchecked, CIFAR100):
    """CIFAR-100 files written by the demo."""

    meta = {**CIFAR100.meta, 'md5': None}
