"""Fusing the branches of networks that have a deployed form, such as RepVGG."""

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmattn.engine.config import parse_options
from mmattn.utils.checkpoints import load_weights, to_bytes
from mmattn.utils.errors import UserError
from mmattn.utils.files import refuse_existing, write_whole
from mmattn.weights.models import as_tuple, load_model, random_images, relative_error

TOLERANCE = 1e-4
# (height, width) of the images on which outputs are compared.
SIZES = ((64, 64), (96, 75))


class Fused(NamedTuple):
    """What :func:`reparameterize` did."""

    modules: list[str]  # names of the modules that were fused
    options: list[str]  # --cfg-options with which the config builds the fused network
    error: float  # largest relative difference of the features before and after
    before: int  # numbers of parameters
    after: int
    notes: list[str]  # what the user should know


def reparameterize(
    config: str,
    checkpoint: Path,
    dst: Path,
    options: Sequence[str] = (),
    force: bool = False,
) -> Fused:
    """Fuse a trained model, check that its features stay, and write its checkpoint.

    Args:
        config: Path or name of the config it was trained with.
        options: ``key=value`` changes of the config.
        force: Overwrite ``dst`` if it exists.

    Raises:
        UserError: If nothing can be fused, or the features differ by more than 1e-4.
    """
    refuse_existing(dst, force)
    loaded = load_model(config, checkpoint, options)
    model = loaded.model
    names = fusible(model)
    if not names:
        raise UserError(
            f'nothing in the model of {config} can be fused: none of its modules has a '
            f'switch_to_deploy(), as RepVGG has.'
        )
    before = count_parameters(model)
    expected = features(model)
    for name in names:
        model.get_submodule(name).switch_to_deploy()
    after = count_parameters(model)
    if after == before:
        raise UserError(f'{", ".join(names)} of {config} is fused already.')
    error = compare(features(model), expected, 'fused')
    deploy = [
        f'model.{name}.deploy=True'
        for name in names
        if 'deploy' in inspect.signature(type(model.get_submodule(name))).parameters
    ]
    if deploy:
        # As the user will build it.
        cfg = copy.deepcopy(loaded.cfg)
        cfg.merge_from_dict(parse_options(deploy))
        rebuilt = MODELS.build(cfg.model).eval()
        load_weights(rebuilt, model.state_dict(), 'the fused model')
        compare(features(rebuilt), expected, 'rebuilt')
    write_whole(dst, to_bytes(dict(state_dict=model.state_dict(), meta=loaded.meta)))
    return Fused(names, deploy, error, before, after, loaded.notes)


def fusible(model: nn.Module) -> list[str]:
    """Names of the outermost modules that have a ``switch_to_deploy()``."""
    names: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f'{other}.') or not other for other in names)
        if not inside and callable(getattr(module, 'switch_to_deploy', None)):
            names.append(name)
    return names


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def features(model: nn.Module) -> list[Tensor]:
    """Outputs of the backbone (and the neck) on random images of two sizes."""
    extract = getattr(model, 'extract_feat', model)
    with torch.no_grad():
        return [out for size in SIZES for out in as_tuple(extract(random_images(2, size)))]


def compare(actual: list[Tensor], expected: list[Tensor], what: str) -> float:
    error = max(relative_error(a, b) for a, b in zip(actual, expected, strict=True))
    if not error < TOLERANCE:
        raise UserError(
            f'the {what} model gives other features than before (relative error {error:.1e}, at '
            f'most {TOLERANCE:.0e} is expected); nothing was written.',
            exit_code=1,
        )
    return error
