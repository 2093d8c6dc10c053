"""Attention modules: plain ``nn.Module``, (N, C, H, W) -> (N, C, H, W)."""

from mmattn.attention.base import Attention
from mmattn.registry import MODELS

__all__ = ['Attention', *MODELS.names_in(__name__)]


def __getattr__(name: str) -> type:
    """Import a class when it is asked for."""
    return MODELS.member_of(__name__, name)
