"""Trains any config end to end in minutes on a CPU, on data generated on the spot.

`make_demo` writes a small data set in the on-disk format that the config reads and shortens the
config to match; `draw_predictions` shows what the trained model makes of it.
"""

from .draw import draw_predictions
from .formats import supported_datasets
from .make import make_demo

__all__ = ['draw_predictions', 'make_demo', 'supported_datasets']
