"""EMA: efficient multi-scale attention.

Paper: Efficient Multi-Scale Attention Module with Cross-Spatial Learning,
ICASSP 2023, arXiv:2305.13563. Checked against YOLOonMe/EMA-attention-module
(outputs only; that repository has no licence).

Deviations: ``factor='auto'`` takes fewer groups where the paper's 32 do not
divide the channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, gated, group_norm
from mmattn.kernels.primitive import runs_pure
from mmattn.registry import MODELS


@MODELS.register_module()
class EMA(GateAttention):
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
        return self._formula(x) if runs_pure(x) else super().attend(x)

    def _formula(self, x: Tensor) -> Tensor:
        """As the paper has it, on maps of the groups; :meth:`gates` has less to do for a kernel."""
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

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        batch, channels, height, width = x.shape
        groups = (batch * self.factor, channels // self.factor)
        means = kernels.means(x)
        strip = torch.cat(means, 2).reshape(*groups, height + width, 1)
        strip = self.conv1x1(strip).sigmoid().reshape(batch, channels, height + width)
        rows, columns = strip.split((height, width), 2)
        # Each branch weighs the other's planes by its own global means; those of a norm are
        # its bias, which leaves one output channel of the convolution.
        weights = self.gn.bias.softmax(0)
        kernel = (weights @ self.conv3x3.weight.flatten(1)).reshape(-1, 3, 3)
        shares = self._local_means(x, *means).reshape(*groups).softmax(1)
        scales = (shares * self.gn.weight).reshape(batch, channels)
        logits = kernels.crossed(x, rows, columns, scales, kernel, self.gn.eps)
        level = shares @ self.gn.bias + weights @ self.conv3x3.bias
        return dict(planes=(logits + level.reshape(batch, -1, 1, 1)).sigmoid())

    def _local_means(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(N * G, C / G), mean_hw(conv_3x3(x)).

        Each weight meets the map but for what it reaches beyond: the last or first row (both
        or none), likewise columns, less the corner that is in both.
        """
        height, width = x.shape[2:]
        ends = [-1, 0]
        without_row = F.pad(rows[:, :, ends] / height, (0, 1))  # last, first, none
        without_column = F.pad(columns[:, :, ends] / width, (0, 1))
        corners = F.pad(x[:, :, ends][..., ends] / (height * width), (0, 1, 0, 1))
        met = rows.mean(2)[:, :, None, None] - without_row[..., None]
        met = met - without_column[:, :, None] + corners  # (N, C, 3, 3)
        order = [0, 2, 1]  # of the weights
        weight = self.conv3x3.weight[:, :, order][..., order].flatten(1)
        return F.linear(met.reshape(-1, weight.shape[1]), weight, self.conv3x3.bias)
