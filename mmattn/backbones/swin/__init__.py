"""Swin Transformer; it inherits from mmpretrain's."""

from mmattn.backbones.swin.network import SwinBlock, SwinTransformer

__all__ = ['SwinBlock', 'SwinTransformer']
