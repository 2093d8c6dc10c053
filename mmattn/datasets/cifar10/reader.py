"""CIFAR-10 and CIFAR-100 as the demo writes them."""

from mmengine.fileio import exists
from mmpretrain.datasets import CIFAR10, CIFAR100

from mmattn.registry import DATASETS


class Unchecked:
    """Asks only for the split's own files, and for no MD5 sum."""

    def _check_integrity(self) -> bool:
        files = self.train_list if self.split == 'train' else self.test_list
        folder = f'{self.data_prefix["root"]}/{self.base_folder}'
        return all(exists(f'{folder}/{name}') for name, _ in files)


@DATASETS.register_module()
class GeneratedCIFAR10(Unchecked, CIFAR10):
    """CIFAR-10 files written by the demo."""

    meta = {**CIFAR10.meta, 'md5': None}


@DATASETS.register_module()
class GeneratedCIFAR100(Unchecked, CIFAR100):
    """CIFAR-100 files written by the demo."""

    meta = {**CIFAR100.meta, 'md5': None}
