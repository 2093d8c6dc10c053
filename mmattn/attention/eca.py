"""ECA: efficient channel attention.

Paper: ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks, CVPR 2020, arXiv:1910.03151. Checked against BangguWu/ECANet (MIT).

Deviations: none. The paper's adaptive kernel is the default; the published
checkpoints have fixed ones (ResNet-50: 3, 5, 5, 7 by stage).
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, Weights
from mmattn.registry import MODELS


@MODELS.register_module()
class ECA(GateAttention):
    """Channel gate from a convolution along the channels of the global mean.

    Formula:
        y = x * sigmoid(conv1d_k(mean_hw(x))), the convolution along the channels

    Args:
        kernel_size: Odd size of the convolution; None derives it from C as in
            the paper, the odd number at or above |(log2(C) + b) / gamma|.
        gamma: Slope of the adaptive kernel size, not 0.
        b: Offset of the adaptive kernel size.
    """

    any_dims = True

    def __init__(
        self,
        in_channels: int,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        if kernel_size is None:
            checks.require(self, gamma != 0, 'gamma must not be 0')
            size = int(abs((math.log2(in_channels) + b) / gamma))
            kernel_size = size if size % 2 else size + 1
        checks.odd(self, 'kernel_size', kernel_size)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(kernel_size=weights['conv.weight'].shape[-1])

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        # As a product with the neighbours of each channel: a convolution of so little takes longer.
        size, gap = self.conv.kernel_size[0], self.conv.padding[0]
        neighbours = F.pad(kernels.mean(x), (gap, gap)).unfold(1, size, 1)  # (N, C, size)
        return dict(channels=F.linear(neighbours, self.conv.weight[0])[:, :, 0].sigmoid())
