"""LSK: large selective kernel.

Paper: Large Selective Kernel Network for Remote Sensing Object Detection, ICCV
2023, arXiv:2303.09030. Checked against zcablii/LSKNet (outputs only; its licence
is CC BY-NC 4.0).

Place: as LKA, in LSKNet's blocks.

Deviations: an odd number of channels is refused.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import gated
from mmattn.attention.lka import LargeKernel
from mmattn.registry import MODELS


@MODELS.register_module()
class LSK(LargeKernel):
    """LKA that selects, place by place, between a small and a large kernel.

    Formula:
        a = dw_5x5(x), b = dw_7x7, dilation 3 (a); a' = conv_1x1(a), b' = conv_1x1(b), C/2 each
        s_a, s_b = sigmoid(conv_7x7([mean_c([a', b']), max_c([a', b'])]))
        y = x * conv_1x1(s_a * a' + s_b * b')
        with proj: y = conv_1x1(LSK(gelu(conv_1x1(x)))) + x

    Args:
        proj: Whether 1x1 convolutions and a GELU surround it, and x is added: the
            original's Attention.
    """

    def __init__(self, in_channels: int, proj: bool = False, warm_start: bool = False) -> None:
        super().__init__(in_channels, proj, warm_start)

    def build(self) -> None:
        channels = self.in_channels
        checks.multiple(self, 2, 'is odd')
        self.conv0 = self.depthwise((5, 5))
        self.conv_spatial = self.depthwise((7, 7), dilation=3)
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels, channels // 2, 1)
        self.conv_squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.conv = nn.Conv2d(channels // 2, channels, 1)

    def unit(self, x: Tensor) -> Tensor:
        near = self.conv0(x)
        far = self.conv_spatial(near)
        both = torch.cat((self.conv1(near), self.conv2(far)), 1)
        pooled = torch.cat((both.mean(1, keepdim=True), both.amax(1, keepdim=True)), 1)
        near, far = kernels.gate(both, planes=self.conv_squeeze(pooled).sigmoid()).chunk(2, 1)
        return gated(x, self.conv(near + far))
