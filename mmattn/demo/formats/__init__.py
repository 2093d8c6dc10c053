"""On-disk formats that the demo can write; a new format is one file and one line here."""

from __future__ import annotations

from . import ade20k, cifar, coco, exdark, flir, imagenet, visdrone, voc
from .base import Format, Part

FORMATS: tuple[Format, ...] = (
    coco.FORMAT,
    voc.FORMAT,
    visdrone.FORMAT,
    exdark.FORMAT,
    flir.FORMAT,
    ade20k.FORMAT,
    imagenet.FORMAT,
    cifar.FORMAT,
)
# Subclasses of a supported type that read files of another kind.
DIFFERENT = (
    'ADE20KPanopticDataset',
    'BaseCDDataset',
    'CocoPanopticDataset',
    'DecathlonDataset',
    'DSDLSegDataset',
    'HSIDrive20Dataset',
    'LVISV05Dataset',
    'LVISV1Dataset',
    'OneDLDataset',
    'V3DetDataset',
    'WIDERFaceDataset',
)


def supported_datasets() -> list[str]:
    """Names of the dataset types for which data can be generated; their subclasses work too."""
    return sorted({name for form in FORMATS for name in form.datasets})


def find_format(dataset_class: type) -> Format:
    """The format a dataset class reads.

    Raises:
        ValueError: it is none of the supported types.
    """
    for ancestor in dataset_class.__mro__:
        if ancestor.__name__ in DIFFERENT:
            break
        for form in FORMATS:
            if ancestor.__name__ in form.datasets:
                return form
    raise ValueError(
        f'--demo cannot generate data for the dataset type {dataset_class.__name__}; '
        f'supported are {", ".join(supported_datasets())} and their subclasses '
        'that read the same files'
    )


__all__ = ['DIFFERENT', 'FORMATS', 'Format', 'Part', 'find_format', 'supported_datasets']
