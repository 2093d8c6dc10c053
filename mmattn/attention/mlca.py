"""MLCA: mixed local channel attention.

Paper: Mixed local channel attention for object detection, Engineering
Applications of Artificial Intelligence 2023. Checked against wandahangFY/MLCA
(outputs only; its licence is GPL-3.0).

Place: that of the SE in MobileNetV3's blocks, behind the depthwise convolution.

Deviations: none. As in the original the local convolution runs over the end of
one window's channels into the next window's.
"""

import math

from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, gated
from mmattn.attention.pooling import grid_means, spread_cells
from mmattn.attention.positions import along
from mmattn.registry import MODELS


@MODELS.register_module()
class MLCA(Attention):
    """ECA on the means of a grid of windows, of all windows and of each.

    Formula:
        m = gridmean_SxS(x)
        g = (1 - w) sigmoid(conv1d_k(mean_hw(m))) + w sigmoid(conv1d_k(m)), along the channels
        y = x * adaptive mean of g for each place

    Args:
        local_size: Windows per side (S), positive.
        gamma: Slope of the kernel size k, not 0: the odd number at or above
            |log2(C) + b| / gamma.
        b: Offset of the kernel size.
        local_weight: Share w of the windows' own gates, from 0 to 1.
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        local_size: int = 5,
        gamma: float = 2,
        b: float = 1,
        local_weight: float = 0.5,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.positive(self, 'local_size', local_size)
        checks.require(self, gamma > 0, f'gamma must be positive, got {gamma!r}')
        valid = 0 <= local_weight <= 1
        checks.require(self, valid, f'local_weight must be from 0 to 1, got {local_weight!r}')
        size = int(abs(math.log2(in_channels) + b) / gamma)
        size = size if size % 2 else size + 1
        self.local_size = local_size
        self.local_weight = local_weight
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        (means,) = grid_means(x, self.local_size)  # (N, C, S, S)
        whole = along(means.mean((2, 3)), self.conv)
        local = along(means.permute(0, 2, 3, 1).flatten(1), self.conv_local)
        local = local.reshape(-1, self.local_size, self.local_size, self.in_channels)
        gate = local.permute(0, 3, 1, 2).sigmoid() * self.local_weight
        gate = gate + whole.sigmoid()[:, :, None, None] * (1 - self.local_weight)
        return gated(x, spread_cells(gate, x))
