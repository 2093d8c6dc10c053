"""CIFAR datasets that accept generated files; imported through a demo's `custom_imports`."""

from mmengine.fileio import exists
from mmpretrain.datasets import CIFAR10, CIFAR100
from mmpretrain.registry import DATASETS


class _Unchecked:
    """Asks only for the split's own files, and for no MD5 sum."""

    def _check_integrity(self) -> bool:
        files = self.train_list if self.split == 'train' else self.test_list
        folder = f'{self.data_prefix["root"]}/{self.base_folder}'
        return all(exists(f'{folder}/{name}') for name, _ in files)


@DATASETS.register_module(force=True)
class GeneratedCIFAR10(_Unchecked, CIFAR10):
    """CIFAR-10 files written by the demo."""

    meta = {**CIFAR10.meta, 'md5': None}


@DATASETS.register_module(force=True)
class GeneratedCIFAR100(_Unchecked, CIFAR100):
    """CIFAR-100 files written by the demo."""

    meta = {**CIFAR100.meta, 'md5': None}
