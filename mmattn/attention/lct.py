"""LCT: linear context transform.

Paper: Linear Context Transform Block, AAAI 2020, arXiv:1909.03834. There is no
official code; checked against changzy00/pytorch-attention (MIT).

Place: on the block's output, as SE.

Deviations: ``groups='auto'``, the default, is the largest number up to 64 that
leaves four channels to a group; the source has no default. Groups of a single
channel, whose gate is a constant, are refused.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention
from mmattn.registry import MODELS

MOST = 64


@MODELS.register_module()
class LCT(GateAttention):
    """Channel gate from the global mean, normalised among the channels of a group.

    Formula:
        z = mean_hw(x); z = (z - mean(z)) / sqrt(var(z) + eps) within each group
        y = x * sigmoid(w * z + b)

    Args:
        groups: Groups of channels, which must divide C and leave two channels or more
            to each; 'auto' takes the largest number up to 64 that leaves four (of fewer
            than eight channels one group).
        eps: Added to the variance, positive.
    """

    any_dims = True

    def __init__(
        self,
        in_channels: int,
        groups: int | str = 'auto',
        eps: float = 1e-5,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.require(self, eps > 0, f'eps must be positive, got {eps!r}')
        most = min(MOST, max(in_channels // 4, 1))
        self.groups = checks.groups(self, 'groups', groups, most)
        message = (
            f'groups={self.groups} leave a single channel of in_channels={in_channels} to each'
        )
        checks.require(self, self.groups < in_channels, f'{message}; it needs two or more')
        self.eps = eps
        self.w = nn.Parameter(torch.ones(in_channels))
        self.b = nn.Parameter(torch.zeros(in_channels))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        means = kernels.mean(x).unflatten(1, (self.groups, -1))  # (N, G, C / G)
        normed = F.layer_norm(means, means.shape[2:], eps=self.eps).flatten(1)
        return dict(channels=(normed * self.w + self.b).sigmoid())
