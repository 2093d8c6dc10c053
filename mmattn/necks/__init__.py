"""Necks with attention on their outputs."""

from mmattn.necks.attention_neck import AttentionNeck

__all__ = ['AttentionNeck']
