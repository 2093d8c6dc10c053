"""The sources of checkpoints, one table each."""

from mmattn.weights.source import Source
from mmattn.weights.sources import (
    cbam,
    coordatt,
    ecanet,
    fcanet,
    mmpretrain,
    res2net,
    rgse,
    sanet,
    scsa,
    senet,
    simam,
    spse,
    timm,
    torchvision,
)

_MODULES = (
    ecanet,
    fcanet,
    sanet,
    cbam,
    coordatt,
    simam,
    senet,
    scsa,
    rgse,
    spse,
    mmpretrain,
    res2net,
    timm,
    torchvision,
)
# From the most particular keys to the most common ones.
SOURCES: dict[str, Source] = {module.SOURCE.name: module.SOURCE for module in _MODULES}

__all__ = ['SOURCES', 'Source']
