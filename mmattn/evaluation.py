"""The old place of the metrics, which lie beside the data sets that they judge."""

from mmattn.registry import METRICS

__all__ = METRICS.names_in('mmattn.datasets')


def __getattr__(name: str) -> type:
    """Import a metric when it is asked for."""
    return METRICS.member_of('mmattn.datasets', name)
