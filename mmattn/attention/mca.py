"""MCA: multidimensional collaborative attention.

Paper: MCA: Multidimensional collaborative attention in deep convolutional neural
networks for image recognition, Engineering Applications of Artificial
Intelligence 2023. Checked against ndsclark/MCANet (outputs only; its licence is
GPL-3.0).

Place: on the block's output.

Deviations: the deviation of a single value is 0 (the original's is not a
number), and the kernel along two or three channels is 1 (the original's would
be -1).
"""

import math

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention.base import GateAttention
from mmattn.attention.pooling import sample_deviation
from mmattn.attention.positions import along
from mmattn.registry import MODELS


class _AxisGate(nn.Module):
    """The gate along one axis from the mean and the deviation over the other two."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2))
        self.conv = nn.Conv2d(1, 1, (1, size), padding=(0, size // 2), bias=False)

    def forward(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """(N, L), (N, L) -> (N, L)."""
        shares = (self.weight.sigmoid() + 0.5).to(mean.dtype)
        pooled = mean * shares[0] + deviation * shares[1]
        return along(pooled, self.conv).sigmoid()


@MODELS.register_module()
class MCA(GateAttention):
    """The mean of three maps, gated along the height, the width and the channels.

    Formula:
        g_a = sigmoid(conv1d((u + 1/2) mean(x) + (v + 1/2) std(x))) along each axis a, of the
        other two axes' means and deviations (over n - 1); u, v = sigmoid(weight)
        y = x * (g_h + g_w + g_c) / 3; with no_spatial x * (g_h + g_w) / 2

    Args:
        no_spatial: Leave the gate along the channels out (as the original calls it: the
            one that is pooled over height and width).
    """

    def __init__(
        self, in_channels: int, no_spatial: bool = False, warm_start: bool = False
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.no_spatial = no_spatial
        self.h_cw = _AxisGate(3)
        self.w_hc = _AxisGate(3)
        if not no_spatial:
            size = round(abs(math.log2(in_channels) - 1) / 1.5)
            self.c_hw = _AxisGate(max(size if size % 2 else size - 1, 1))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        rows, columns = kernels.means(x)  # (N, C, H), (N, C, W)
        height = self.h_cw(rows.mean(1), sample_deviation(x, (1, 3)))
        width = self.w_hc(columns.mean(1), sample_deviation(x, (1, 2)))
        planes = (height[:, :, None] + width[:, None])[:, None]
        if self.no_spatial:
            return dict(planes=planes / 2)
        channels = self.c_hw(rows.mean(2), sample_deviation(x, (2, 3)))
        return dict(channels=channels / 3, planes=planes / 3, join='add')
