"""Metrics that the toolboxes lack; they inherit from mmdet, and are imported when asked for."""

from mmattn.registry import METRICS

__all__ = ['VisDroneMetric']


def __getattr__(name: str) -> type:
    """Import a metric."""
    if name in METRICS.lazy:
        return METRICS.get(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
