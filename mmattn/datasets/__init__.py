"""Data sets that the toolboxes do not read, or not as tolerantly."""

from mmattn.registry import DATASETS

__all__ = [*DATASETS.names_in(__name__)]


def __getattr__(name: str) -> type:
    """Import a class when it is asked for."""
    return DATASETS.member_of(__name__, name)
