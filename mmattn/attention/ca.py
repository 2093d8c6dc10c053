"""CA: coordinate attention.

Paper: Coordinate Attention for Efficient Mobile Network Design, CVPR 2021,
arXiv:2103.02907. Checked against houqb/CoordAttention (MIT).

Deviations: none.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention.base import (
    GateAttention,
    Weights,
    batch_norm,
    hidden_channels,
    reduction_from,
)
from mmattn.registry import MODELS


@MODELS.register_module()
class CA(GateAttention):
    """Gates along the height and the width from the means of rows and columns.

    Formula:
        [f_h, f_w] = hswish(BN(W1 [mean_w(x), mean_h(x)]))
        y = x * sigmoid(W_h f_h) * sigmoid(W_w f_w)

    Args:
        reduction: The hidden layer has max(8, C // reduction) channels.
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        reduction: int = 32,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        hidden = hidden_channels(self, reduction, least=8)
        self.conv1 = nn.Conv2d(in_channels, hidden, 1)
        self.bn1 = batch_norm(self, hidden, norm_cfg)
        self.conv_h = nn.Conv2d(hidden, in_channels, 1)
        self.conv_w = nn.Conv2d(hidden, in_channels, 1)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(reduction=reduction_from(weights['conv1.weight']))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        height, width = x.shape[2:]
        strip = torch.cat(kernels.means(x), 2)[:, :, :, None]  # (N, C, H + W, 1)
        strip = F.hardswish(self.bn1(self.conv1(strip)))
        rows, columns = strip.split((height, width), 2)
        rows, columns = self.conv_h(rows).sigmoid(), self.conv_w(columns).sigmoid()
        return dict(rows=rows[:, :, :, 0], columns=columns[:, :, :, 0])
