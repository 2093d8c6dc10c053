"""Measuring models: parameters and multiply-adds."""

from mmattn.analysis.complexity import Complexity, measure

__all__ = ['Complexity', 'measure']
