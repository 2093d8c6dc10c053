"""The former name of :mod:`mmattn.engine.evaluate`."""

from mmattn.engine.evaluate import evaluate as test  # noqa: F401
