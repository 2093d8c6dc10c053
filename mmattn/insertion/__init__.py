"""Attention in networks that know nothing of it: found by name, attended to by hooks."""

from mmattn.insertion.insert import insert_attention

__all__ = ['insert_attention']
