"""A whole model out of a config and a checkpoint, for the tools that change or export it."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from mmattn.engine.prepare import prepare
from mmattn.utils.checkpoints import load_weights, read_checkpoint, unwrap
from mmattn.utils.errors import UserError
from mmattn.utils.walk import iter_dicts


class Loaded(NamedTuple):
    """A model in eval mode, its config, its checkpoint's ``meta``, and notes for the user."""

    model: nn.Module
    cfg: Config
    meta: dict[str, Any]
    notes: list[str]


def load_model(config: str, checkpoint: Path | None, options: Sequence[str] = ()) -> Loaded:
    """Build the model of a config on the CPU and load its weights.

    Args:
        config: Path or name of a config of any of the toolboxes.
        checkpoint: Of the whole model or of its backbone. None takes the local files that
            the config's ``init_cfg`` names, else random weights.
        options: ``key=value`` changes of the config.

    Raises:
        UserError: If the checkpoint does not hold every weight.
    """
    cfg, notes = prepare(config, options)
    if not isinstance(cfg.get('model'), Mapping) or 'backbone' not in cfg.model:
        raise UserError(f'{config} has no model with a backbone.')
    import_modules_from_strings(**cfg.custom_imports)
    init_default_scope(cfg.get('default_scope') or 'mmpretrain')
    model_cfg = copy.deepcopy(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    nodes = [node for node in iter_dicts(model_cfg) if node.get('type') == 'Pretrained']
    files = [node.checkpoint for node in nodes if 'checkpoint' in node]
    model = MODELS.build(model_cfg)
    meta: dict[str, Any] = {}
    if checkpoint is not None:
        weights = unwrap(read_checkpoint(checkpoint), checkpoint)
        load_weights(model, weights.tensors, str(checkpoint))
        meta = weights.meta
        notes += weights.notes
    elif files and all(Path(file).is_file() for file in files):
        model.init_weights()
        notes += [f'weights of {file}' for file in files]
    else:
        notes.append('no checkpoint was given: the weights are random')
    return Loaded(model.eval(), cfg, meta, notes)


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the value there and the mean absolute value."""
    actual, expected = actual.detach().double(), expected.detach().double()
    scale = expected.abs() + expected.abs().mean().clamp_min(1e-12)
    return float(((actual - expected).abs() / scale).max())


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def random_images(batch: int, size: tuple[int, int]) -> Tensor:
    """Normalised images (N, 3, H, W), the same on every call."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))
