"""Scales every image size of a config: pipelines, data preprocessor and model."""

from __future__ import annotations

import math

from mmattn.utils.walk import iter_dicts

# Names under which transforms and preprocessors keep sizes in pixels.
SIZE_KEYS = (
    'crop_size',
    'image_size',
    'img_scale',
    'img_scales',
    'img_size',
    'pad_shape',
    'random_size_range',
    'scale',
    'scales',
    'size',
    'stride',
    'test_size',
)
# Below this a number is a factor, not a size in pixels.
SMALLEST_SIZE = 17


def scale_sizes(node: object, factor: float) -> None:
    """Multiplies every size in pixels inside `node` (nested dicts and lists), in place.

    A size keeps being a multiple of 8 if it was one. Floats are ratios and stay.
    """
    for config in iter_dicts(node):
        for key in SIZE_KEYS:
            if key in config and not isinstance(config[key], dict):
                config[key] = _scaled(config[key], factor)


def test_size(pipeline: list) -> tuple[int, int] | None:
    """The image size (width, height) a test pipeline resizes to; None if it does not resize.

    A single number counts as a square; sizes of later transforms win over earlier ones.
    """
    found = None
    for config in iter_dicts(pipeline):
        for key in ('scale', 'img_scale', 'crop_size', 'size'):
            value = config.get(key)
            if isinstance(value, int) and value >= SMALLEST_SIZE:
                found = value, value
            elif (
                isinstance(value, (list, tuple))
                and len(value) == 2
                and all(isinstance(v, int) and v >= SMALLEST_SIZE for v in value)
            ):
                found = tuple(value)
    return found


def _scaled(value: object, factor: float) -> object:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(child, factor) for child in value)
    if isinstance(value, bool) or not isinstance(value, int) or value < SMALLEST_SIZE:
        return value
    if value % 8 == 0:
        return max(8, round(value * factor / 8) * 8)
    # Odd sizes such as 1333 are upper bounds: never below the exact value.
    return math.ceil(value * factor)
