"""CAM: channel attention of DANet.

Paper: Dual Attention Network for Scene Segmentation, CVPR 2019, arXiv:1809.02983.
Checked against junfu1115/DANet (MIT).

Place: in a segmentation head on stage 4; here where a block has its inner position,
for the last stage.

Deviations: with ``warm_start`` gamma starts at 1, not at 0, where two zeros in a
product would never learn. As in the code, each channel attends to those that are
least like it.
"""

import torch
from torch import Tensor, nn

from mmattn.attention.base import Attention
from mmattn.kernels.primitive import no_autocast, wide_dtype
from mmattn.registry import MODELS

PARTS = 8


@MODELS.register_module()
class CAM(Attention):
    """Every channel attends to every other; the sum is added by a learned share.

    Quadratic in the number of channels: C * C logits an image, in float32 whatever the
    map (16 MiB at C = 2048); linear in the number of positions.

    Formula:
        E = X X^T, X the map as C rows of HW
        y = x + gamma * softmax_j(max_j(E_ij) - E_ij) X
    """

    placement = 'inner'
    any_dims = True

    def __init__(self, in_channels: int, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.gamma = nn.Parameter(torch.ones(1) if warm_start else torch.zeros(1))

    def attend(self, x: Tensor) -> Tensor:
        places = x.flatten(2)  # (N, C, H W)
        with no_autocast(x):
            if x.dtype == wide_dtype(x):
                likeness = places @ places.transpose(1, 2)
            else:
                likeness = _WideProduct.apply(places)
            # A softmax does not change with what is added to all: no gradient through the peak.
            peak = likeness.detach().amax(2, keepdim=True)
            shares = (peak - likeness).softmax(2)
            out = (shares.to(x.dtype) @ places).reshape(x.shape)
        return x + self.gamma.to(x.dtype) * out


class _WideProduct(torch.autograd.Function):
    """X X^T of a 16 bit map in float32, part by part, so that no whole map is widened.

    Sums over a map have too few digits in 16 bits for a softmax.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        parts = (part.float() for part in x.chunk(PARTS, 2))
        return sum(part @ part.transpose(1, 2) for part in parts)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return (grad + grad.transpose(1, 2)).to(x.dtype) @ x
