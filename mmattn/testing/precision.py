"""What mixed precision does to a map, seen on a CPU."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from mmattn.utils.torch_version import NEW_TORCH

# What CUDA's autocast computes in float32, among what attentions are made of.
IN_FLOAT32 = (
    *('cosine_similarity', 'cumsum', 'exp', 'group_norm', 'layer_norm', 'log', 'log_softmax'),
    *('norm', 'pow', 'prod', 'reciprocal', 'rsqrt', 'softmax', 'softplus', 'square', 'sum'),
    '__pow__',
)


class CudaAutocast(TorchFunctionMode):
    """Computes in float32 on a CPU what autocast computes in float32 on CUDA."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        enabled = torch.is_autocast_enabled('cpu') if NEW_TORCH else torch.is_autocast_cpu_enabled()
        if enabled and func.__name__ in IN_FLOAT32:
            args = tree_map(lambda x: x.float() if isinstance(x, Tensor) else x, args)
        return func(*args, **(kwargs or {}))


class Widened(TorchDispatchMode):
    """Notes the operators that make float32 tensors half as large as a map, or larger."""

    def __init__(self, x: Tensor, shapes: set[tuple[int, ...]]) -> None:
        super().__init__()
        self.least = x.numel() // 2
        # Gradients of parameters are float32 as they should be.
        self.shapes = shapes
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outs = func(*args, **(kwargs or {}))
        for out in tree_flatten(outs)[0]:
            wide = isinstance(out, Tensor) and out.dtype == torch.float32
            if wide and out.numel() >= self.least and tuple(out.shape) not in self.shapes:
                self.found.add(func.overloadpacket.__name__)
        return outs
