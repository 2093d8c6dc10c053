"""Necks with attention on their outputs."""

from mmattn.registry import MODELS

__all__ = [*MODELS.names_in(__name__)]


def __getattr__(name: str) -> type:
    """Import a class when it is asked for."""
    return MODELS.member_of(__name__, name)
