"""Where a number that is not finite began: in the batch, a layer, the losses, or going back."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmattn.utils.errors import one_line


@dataclass
class Origin:
    """Where it began, in words, and the places in the batch of the samples at fault, if known."""

    words: str
    samples: list[int] = field(default_factory=list)


class _Began(Exception):
    """Ends the forward pass where the first non-finite number is seen."""

    def __init__(self, words: str, samples: list[int] | None = None) -> None:
        self.origin = Origin(words, samples or [])


def find_origin(
    model: BaseModel,
    data: Any,
    optim_wrapper: OptimWrapper | OptimWrapperDict,
    preprocess: bool = True,
) -> Origin | None:
    """Repeat forward and backward pass of a batch, and see what is not finite first.

    Gradients are not stored, and no hook of DistributedDataParallel runs; the random states and
    BatchNorm statistics are the caller's to set and to put back.

    Args:
        model: Not wrapped.
        data: A batch as the data loader gave it, or preprocessed.
        optim_wrapper: Its context is that of the forward pass.
        preprocess: Let the model's preprocessor prepare the batch.

    Returns:
        None if everything is finite this time.
    """
    # Each optimizer of several has its own part of the pass, which only the model knows.
    several = isinstance(optim_wrapper, OptimWrapperDict)
    context = nullcontext() if several else optim_wrapper.optim_context(model)
    preprocessor = set(model.data_preprocessor.modules())
    behind: list[str] = []
    handles = [
        module.register_forward_hook(partial(_look, name or 'the model', behind))
        for name, module in model.named_modules()
        if module not in preprocessor
    ]
    try:
        with torch.enable_grad(), context:
            data = model.data_preprocessor(data, True) if preprocess else data
            _look_at_batch(data)
            losses = model._run_forward(data, mode='loss')
        loss, named = model.parse_losses(losses)
        if bad := [name for name, value in named.items() if not _finite(value)]:
            raise _Began(f'the losses ({", ".join(bad)}), from finite outputs of every layer')
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        torch.autograd.grad(loss, weights, allow_unused=True)
    except _Began as began:
        return began.origin
    except Exception as error:
        return Origin(f'a place that a second pass did not find ({one_line(error)})')
    finally:
        for handle in handles:
            handle.remove()
    if not behind:
        return None
    return Origin(
        f'the backward pass, behind the output of {behind[0]}: that is finite, its gradient is not'
    )


def files_of(batch: Any) -> list[str]:
    """The image files of a batch's samples; their numbers in the data set where it keeps none."""
    if isinstance(batch, BaseDataElement):
        name = batch.get('img_path') or batch.get('sample_idx')
        return [] if name is None else [str(name)]
    inside = batch.values() if isinstance(batch, dict) else batch
    if isinstance(inside, (str, bytes, Tensor)) or not hasattr(inside, '__iter__'):
        return []
    return [file for value in inside for file in files_of(value)]


def _look(name: str, behind: list[str], module: nn.Module, _: Any, output: Any) -> None:
    """Forward hook: end at an output that is not finite, else watch its gradient."""
    for _path, tensor in _tensors(output):
        if not _finite(tensor):
            own = all(_finite(weight) for weight in module.parameters(recurse=False))
            raise _Began(f'{name}{"" if own else ", whose own weights are not finite"}')
        if tensor.requires_grad:
            tensor.register_hook(partial(_look_back, name, behind))


def _look_back(name: str, behind: list[str], gradient: Tensor) -> None:
    if not behind and not _finite(gradient):
        behind.append(name)


def _look_at_batch(data: Any) -> None:
    for path, tensor in _tensors(data):
        if not _finite(tensor):
            if len(path) > 1 and isinstance(path[1], int):
                samples = [path[1]]
            elif path[:1] == ('inputs',):
                samples = (~tensor.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
            else:
                samples = []
            raise _Began(f'the batch itself ({".".join(map(str, path))})', samples)


def _tensors(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Tensor]]:
    """Every tensor of floats in nested lists, dicts and data elements, with its keys."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield path, value
        return
    if isinstance(value, (dict, BaseDataElement)):
        inside = value.items()
    elif isinstance(value, (list, tuple)):
        inside = enumerate(value)
    else:
        inside = getattr(value, 'tensor', None)  # mmdet's boxes
        inside = [] if inside is None else [('tensor', inside)]
    for key, item in inside:
        yield from _tensors(item, (*path, key))


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.detach().isfinite().all())
