"""Data sets that the toolboxes do not read, or not as tolerantly; converters to COCO's format.

``VOCDataset`` builds on MMEngine alone. The others inherit from mmdet and are
imported when they are asked for.
"""

from mmattn.datasets.voc import VOCDataset
from mmattn.registry import DATASETS

__all__ = ['ExDarkDataset', 'FLIRDataset', 'VOCDataset', 'VisDroneDataset']


def __getattr__(name: str) -> type:
    """Import the data sets that inherit from mmdet when they are asked for."""
    if name in DATASETS.lazy:
        return DATASETS.get(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
