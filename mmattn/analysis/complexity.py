"""Parameters and multiply-adds of any config, part by part.

The model runs on torch's meta device: no arithmetic, so that a detector at full size takes
seconds. Operators that only exist on real data (RoIAlign, NMS)
do no multiply-adds that anyone counts; the heads behind them get as many regions as the
config lets pass.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmattn.analysis.operators import ATTENTION, Operations, count
from mmattn.attention import Attention
from mmattn.engine.machine import adapt_to_machine
from mmattn.utils.errors import UserError
from mmattn.utils.walk import type_name

# Height and width when none is given, by toolbox, as the papers' tables have them.
DEFAULT_SIZES = {'mmpretrain': (224, 224), 'mmdet': (800, 1280), 'mmseg': (512, 2048)}
MASK_REGIONS = 100


@dataclass
class Complexity:
    """Counts of a model for one image."""

    size: tuple[int, int]  # height and width of the image
    params: int = 0  # without those of auxiliary heads, which only train
    auxiliary_params: int = 0
    attention_params: int = 0  # part of params
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> params, flops
    flops: int = 0  # multiply-adds as mmengine counts them
    # What mmengine leaves out: multiply-adds of fused attention; elementwise operations,
    # softmax and poolings.
    left_out: tuple[int, int] = (0, 0)


def measure(cfg: Config, size: tuple[int, int] | None = None) -> Complexity:
    """Count the parameters and multiply-adds of a config's model.

    Args:
        cfg: A config of mmdet, mmseg or mmpretrain.
        size: Height and width of the input; default 224 x 224 for classifiers (32 x 32 with
            CIFAR's images), 800 x 1280 for detectors, 512 x 2048 for segmentation.

    Raises:
        UserError: If the config belongs to none of the toolboxes.
    """
    result, left_out = Complexity(input_size(cfg, size)), Counter()
    scope = cfg.default_scope
    cfg = copy.deepcopy(cfg)
    # SyncBN has the parameters of BN, but runs on GPUs only.
    adapt_to_machine(cfg)
    with DefaultScope.overwrite_default_scope(scope), torch.no_grad():
        # Moved, not built there: a Swin Transformer reads numbers off a tensor while it is built.
        model = MODELS.build(cfg.model).eval().to('meta')
        image = torch.zeros(1, 3, *result.size, device='meta')
        for name, module, counted in _count_parts(model, cfg, image):
            params, flops = result.parts.get(name, (0, 0))
            result.parts[name] = (params + _params(module), flops + counted.flops)
            left_out.update(counted.left_out)
    result.attention_params = _params(*(m for m in model.modules() if isinstance(m, Attention)))
    if getattr(model, 'auxiliary_head', None) is not None:
        result.auxiliary_params = _params(model.auxiliary_head)
    result.params = _params(model) - result.auxiliary_params
    result.flops = sum(flops for _, flops in result.parts.values())
    products = left_out.pop(ATTENTION, 0)
    result.left_out = (products, left_out.total())
    return result


def input_size(cfg: Config, size: Sequence[int] | None = None) -> tuple[int, int]:
    """Height and width of a config's input; ``size`` if it is given.

    Raises:
        UserError: If the config belongs to none of the toolboxes.
    """
    scope = cfg.get('default_scope')
    if scope not in DEFAULT_SIZES:
        raise UserError(
            f'default_scope={scope!r}: cannot tell what to measure; '
            f'valid: {", ".join(DEFAULT_SIZES)}'
        )
    if size is not None:
        return tuple(size)
    dataset = (cfg.get('train_dataloader') or {}).get('dataset', {})
    return (32, 32) if 'CIFAR' in type_name(dataset) else DEFAULT_SIZES[scope]


def _params(*modules: nn.Module) -> int:
    """Parameters of modules, some of which may lie in others, as SCSA's halves in SCSA."""
    return sum(p.numel() for p in {p for module in modules for p in module.parameters()})


def _count_parts(
    model: nn.Module, cfg: Config, image: Tensor
) -> Iterator[tuple[str, nn.Module, Operations]]:
    """Run each part of a model on the output of the one before."""
    features, counter = count(model.backbone, image)
    yield 'backbone', model.backbone, counter
    if getattr(model, 'neck', None) is not None:
        features, counter = count(model.neck, features)
        yield 'neck', model.neck, counter
    # Segmentation, a two-stage detector, a one-stage detector, or a classifier.
    for name in ('decode_head', 'rpn_head', 'bbox_head', 'head'):
        head = getattr(model, name, None)
        if head is not None:
            yield name, head, count(head, features)[1]
    if getattr(model, 'roi_head', None) is not None:
        yield from _count_regions(model.roi_head, cfg)


def _count_regions(roi_head: nn.Module, cfg: Config) -> Iterator[tuple[str, nn.Module, Operations]]:
    regions = cfg.model.test_cfg.rpn.max_per_img
    for kind, number in (('bbox', regions), ('mask', MASK_REGIONS)):
        heads = getattr(roi_head, f'{kind}_head', None)
        extractors = getattr(roi_head, f'{kind}_roi_extractor', None)
        if heads is None:
            continue
        if not isinstance(heads, nn.ModuleList):
            heads, extractors = [heads], [extractors]
        for head, extractor in zip(heads, extractors, strict=True):
            side = extractor.roi_layers[0].output_size
            shape = (number, extractor.out_channels, *side)
            yield f'{kind}_head', head, count(head, torch.zeros(shape, device='meta'))[1]
