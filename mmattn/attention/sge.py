"""SGE: spatial group-wise enhance.

Paper: Spatial Group-wise Enhance: Improving Semantic Feature Learning in
Convolutional Networks, arXiv:1905.09646. Checked against implus/PytorchInsight
(outputs only; that repository has no licence at its root).

Deviations: on a map of one element, and where all elements are equal, the
deviation is 0 and so is what it divides (the original's is not a number).
``groups='auto'`` takes fewer groups where the paper's 64 do not divide the channels.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention
from mmattn.attention.pooling import sample_deviation
from mmattn.kernels.primitive import seen_through
from mmattn.registry import MODELS

# Places below which a product of matrices for each group takes longer than that of the maps.
SHORT = 128


@MODELS.register_module()
class SGE(GateAttention):
    """Spatial gate per group of channels: how much a place is like the group's mean.

    Formula:
        per group g: t = sum over its channels of g * mean_hw(g)
        y = g * sigmoid(w (t - mean_hw(t)) / (std_hw(t) + 1e-5) + b), the deviation over HW - 1

    Args:
        groups: Groups of channels, which must divide C; 'auto' takes the largest
            number up to 64 that does.
    """

    any_dims = True

    def __init__(self, in_channels: int, groups: int | str = 64, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.groups = checks.groups(self, 'groups', groups, most=64)
        self.weight = nn.Parameter(torch.zeros(1, self.groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, self.groups, 1, 1))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        means = kernels.mean(x).reshape(x.shape[0], self.groups, -1)
        grouped = x.unflatten(1, (self.groups, -1))
        if not seen_through(x) and x.shape[2] * x.shape[3] < SHORT:
            likeness = (grouped * means[:, :, :, None, None]).sum(2)
        else:
            likeness = (means.unsqueeze(2) @ grouped.flatten(3)).to(x.dtype)
            likeness = likeness.reshape(x.shape[0], self.groups, *x.shape[2:])
        deviation = sample_deviation(likeness, (2, 3))[:, :, None, None]
        normed = (likeness - likeness.mean((2, 3), keepdim=True)) / (deviation + 1e-5)
        logits = normed * self.weight.to(x.dtype) + self.bias.to(x.dtype)
        return dict(planes=logits.sigmoid())
