"""Scales every image size of a config: pipelines, data preprocessor and model."""

import math
from typing import Any

import numpy as np
from mmengine.config import Config

from mmattn.demo.dataset_configs import loaders
from mmattn.utils.walk import iter_dicts

# Names under which transforms and preprocessors keep sizes in pixels.
SIZE_KEYS = (
    'border',
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
    'test_size',
)
# Below this a number is a factor, not a size in pixels.
SMALLEST_SIZE = 17
# Two pixels after a network has halved them five times.
SMALLEST_INPUT = 64


def scale_config(cfg: Config, factor: float) -> None:
    """Multiply every size in pixels that a config keeps, in place."""
    for _, loader in loaders(cfg):
        scale_sizes(loader['dataset'], factor)
        for node in iter_dicts(loader['dataset']):
            limits = node.get('filter_cfg') or {}
            for key in ('min_size', 'bbox_min_size'):
                if limits.get(key):
                    limits[key] = int(limits[key] * factor)
    model = cfg['model']
    # Hooks switch to pipelines of their own.
    names = ('train_pipeline', 'test_pipeline', 'tta_pipeline', 'custom_hooks')
    nodes = [cfg.get(key) for key in names]
    nodes += [cfg.get('data_preprocessor'), model.get('data_preprocessor'), model.get('test_cfg')]
    scale_sizes(nodes, factor)
    backbone = model.get('backbone') or {}
    if 'img_size' in backbone:
        backbone['img_size'] = _scaled(backbone['img_size'], factor)


def scale_sizes(node: Any, factor: float) -> None:
    """Multiply every size in pixels inside ``node`` (nested dicts and lists), in place.

    A size keeps being a multiple of 8 if it was one, and then no less than 64. Floats are ratios
    and stay.
    """
    for config in iter_dicts(node):
        window = config.get('crop_size')
        for key in SIZE_KEYS:
            if key in config and not isinstance(config[key], dict):
                config[key] = _scaled(config[key], factor)
        if window and 'stride' in config:  # windows overlap as much as before
            ratio = np.min(config['crop_size']) / np.min(window)
            config['stride'] = _scaled(config['stride'], float(ratio))


def native_size(pipeline: list) -> tuple[int, int] | None:
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


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(child, factor) for child in value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) < SMALLEST_SIZE:
        return value
    if value < 0:  # the border of an image that is cropped
        return -_scaled(-value, factor)
    if value % 8 == 0:
        return max(min(value, SMALLEST_INPUT), round(value * factor / 8) * 8)
    # Odd sizes such as 1333 are upper bounds: never below the exact value.
    return math.ceil(value * factor)
