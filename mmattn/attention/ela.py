"""ELA: efficient local attention.

Paper: ELA: Efficient Local Attention for Deep Convolutional Neural Networks,
arXiv:2403.01123. Checked against the module in HZAI-ZJNU/SCSA, which gives the
counts of the SCSA paper.

Deviations: ``num_groups='auto'`` takes fewer groups where 16 do not divide the
channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, group_norm
from mmattn.registry import MODELS


@MODELS.register_module()
class ELA(GateAttention):
    """Gates along the height and the width from one depthwise 1D convolution.

    Formula:
        g_h = sigmoid(GN(dwconv_7(mean_w(x)))), g_w likewise with mean_h(x)
        y = x * g_h * g_w

    Args:
        kernel_size: Odd size of the convolution that both directions share.
        num_groups: Groups of the GroupNorm, which must divide C; 'auto' takes the
            largest number up to 16 that does.
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 7,
        num_groups: int | str = 16,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.odd(self, 'kernel_size', kernel_size)
        num_groups = checks.groups(self, 'num_groups', num_groups, most=16)
        self.conv = nn.Conv1d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        self.gn = nn.GroupNorm(num_groups, in_channels)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        height = x.shape[2]
        rows, columns = kernels.means(x)
        # One convolution for both: zeros between them act as the padding.
        gap = self.conv.kernel_size[0] // 2
        strip = self.conv(torch.cat((F.pad(rows, (0, gap)), columns), 2))
        rows = self._norm(strip[:, :, :height]).sigmoid()
        columns = self._norm(strip[:, :, height + gap :]).sigmoid()
        return dict(rows=rows, columns=columns)

    def _norm(self, strip: Tensor) -> Tensor:
        return group_norm(self.gn, strip)
