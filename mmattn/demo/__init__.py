"""Trains any config end to end in minutes on a CPU, on data generated on the spot."""

from mmattn.demo.demo import Demo

__all__ = ['Demo']
