"""EMA: efficient multi-scale attention.

Paper: Efficient Multi-Scale Attention Module with Cross-Spatial Learning,
ICASSP 2023, arXiv:2305.13563. Checked against YOLOonMe/EMA-attention-module
(outputs only; that repository has no licence).

Deviations: ``factor='auto'`` takes fewer groups where the paper's 32 do not
divide the channels.
"""

import torch
from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, gated, group_norm
from mmattn.registry import MODELS


@MODELS.register_module()
class EMA(Attention):
    """Spatial gate per group of channels from a 1x1 and a 3x3 branch that cross.

    Formula:
        per group g: [r, c] = sigmoid(conv_1x1([mean_w(g), mean_h(g)]))
        u = GN(g * r * c), v = conv_3x3(g)
        y = g * sigmoid(softmax(mean_hw(u)) v + softmax(mean_hw(v)) u)

    Args:
        factor: Groups of channels, which must divide C; 'auto' takes the largest
            number up to 32 that does.
    """

    placement = 'inner'

    def __init__(self, in_channels: int, factor: int | str = 32, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.factor = checks.groups(self, 'factor', factor, most=32)
        width = in_channels // self.factor
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        groups = x.reshape(x.shape[0] * self.factor, -1, height, width)  # (N * G, C / G, H, W)
        rows = groups.mean(3, keepdim=True)
        columns = groups.mean(2, keepdim=True).transpose(2, 3)
        strip = self.conv1x1(torch.cat((rows, columns), 2)).sigmoid()
        rows, columns = strip.split((height, width), 2)
        crossed = group_norm(self.gn, gated(groups, rows, columns.transpose(2, 3)))
        local = self.conv3x3(groups)
        # Each branch weighs the other's planes by its own global means.
        logits = self._weigh(crossed, local) + self._weigh(local, crossed)
        gate = logits.sigmoid().reshape(-1, self.factor, 1, height, width)
        # On a view of x, which keeps its memory format.
        return gated(x.unflatten(1, (self.factor, -1)), gate).flatten(1, 2)

    @staticmethod
    def _weigh(descriptors: Tensor, planes: Tensor) -> Tensor:
        weights = descriptors.mean((2, 3)).softmax(1)[:, None]  # (N * G, 1, C / G)
        plane = weights @ planes.flatten(2)  # (N * G, 1, H * W)
        return plane.reshape(planes.shape[0], 1, *planes.shape[2:])
