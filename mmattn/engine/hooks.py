"""Hooks that serve every toolbox: progress, record of metrics, and guards."""

import logging
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmattn.utils.errors import UserError


class CheckpointFitHook(Hook):
    """Refuse a checkpoint that does not fit the model, and say how much of it does.

    mmengine loads non-strictly: without this a checkpoint with not a single
    matching key leaves random weights behind a line in the log.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes with the model's before they are loaded."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        own = {key: tuple(value.shape) for key, value in model.state_dict().items()}
        weights = checkpoint.get('state_dict', checkpoint)
        given = {
            key.removeprefix('module.'): tuple(value.shape)
            for key, value in weights.items()
            if isinstance(value, torch.Tensor)
        }
        matched = {key for key in own if given.get(key) == own[key]}
        if not matched:
            raise UserError(
                'the checkpoint does not fit the model: not one of its '
                f'{len(given)} keys ({_some(given)}) is among the {len(own)} of the model '
                f'({_some(own)}). A file of bare backbone weights belongs into '
                "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)."
            )
        backbone = {key for key in own if key.startswith('backbone.') and '.attn_' not in key}
        if len(backbone & matched) < len(backbone) / 2:
            shapes = [key for key in backbone & set(given) if given[key] != own[key]]
            raise UserError(
                f'the checkpoint does not fit the model: only {len(backbone & matched)} of the '
                f"backbone's {len(backbone)} tensors match (missing: "
                f'{_some(backbone - set(given))}; other shape: {_some(shapes)}).'
            )
        level = logging.INFO if len(matched) == len(own) else logging.WARNING
        missing = [key for key in own if key not in matched]
        text = f'checkpoint: {len(matched)} of {len(own)} tensors of the model match'
        runner.logger.log(level, text + (f'; not loaded: {_some(missing)}' if missing else ''))


def _some(keys: Any, limit: int = 3) -> str:
    keys = sorted(keys)
    shown = ', '.join(keys[:limit]) or 'none'
    return shown + (f' and {len(keys) - limit} more' if len(keys) > limit else '')


class PictureHook(Hook):
    """Write each test image with its prediction, beside or over the ground truth.

    Args:
        out_dir: Folder for the pictures, created if absent.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = out_dir
        self.count = 0

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Draw the samples of a batch with the toolbox's own visualizer."""
        import os

        import mmcv

        os.makedirs(self.out_dir, exist_ok=True)
        for sample in outputs or []:
            path = sample.metainfo.get('img_path')
            if path is None:
                continue
            image = mmcv.imread(path, channel_order='rgb')
            stem = os.path.splitext(os.path.basename(path))[0]
            # images of different folders may share a name
            out_file = os.path.join(self.out_dir, f'{runner.rank}_{self.count:05d}_{stem}.png')
            self._draw(runner.visualizer, stem, image, sample, out_file)
            self.count += 1

    @staticmethod
    def _draw(visualizer: Any, name: str, image: Any, sample: Any, out_file: str) -> None:
        if hasattr(visualizer, 'visualize_cls'):  # mmpretrain
            visualizer.visualize_cls(image, sample, out_file=out_file, name=name)
        elif hasattr(visualizer, 'add_datasample'):
            visualizer.add_datasample(name, image, sample, show=False, out_file=out_file)
        else:
            raise UserError(
                f'--show-dir: the visualizer {type(visualizer).__name__} cannot draw '
                "predictions; use the toolbox's own (DetLocalVisualizer, SegLocalVisualizer, "
                'UniversalVisualizer).'
            )
