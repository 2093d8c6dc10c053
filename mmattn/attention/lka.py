"""LKA: large kernel attention, of the Visual Attention Network.

Paper: Visual Attention Network, Computational Visual Media 2023,
arXiv:2202.09741. Checked against Visual-Attention-Network/VAN-Classification (Apache-2.0).

Place: VAN's blocks are x + layer_scale * attention(BN(x)) with ``proj=True``; in
a block of convolutions it stands where proj_1 and the GELU are in front of it.

Deviations: none. The convolutions start as in VAN.
"""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention.base import Attention, gated
from mmattn.registry import MODELS


class LargeKernel(Attention):
    """Base of LKA and its kin: a map times what large kernels make of it.

    A subclass implements :meth:`build`, which adds its layers, and :meth:`unit`.

    Args:
        proj: Whether 1x1 convolutions and a GELU surround the unit, and x is added.
        arguments: Those of :meth:`build`.
    """

    placement = 'inner'

    def __init__(self, in_channels: int, proj: bool, warm_start: bool, **arguments: Any) -> None:
        super().__init__(in_channels, warm_start)
        self.proj = proj
        if proj:
            self.proj_1 = nn.Conv2d(in_channels, in_channels, 1)
            self.spatial_gating_unit = type(self)(in_channels, **arguments)
            self.proj_2 = nn.Conv2d(in_channels, in_channels, 1)
        else:
            self.build(**arguments)

    def build(self, **arguments: Any) -> None:
        """Add the layers of the unit."""
        raise NotImplementedError

    def unit(self, x: Tensor) -> Tensor:
        """The attention without the convolutions around it."""
        raise NotImplementedError

    def attend(self, x: Tensor) -> Tensor:
        if not self.proj:
            return self.unit(x)
        inner = self.spatial_gating_unit.unit(F.gelu(self.proj_1(x)))
        return self.proj_2(inner) + x

    def depthwise(self, size: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
        """A convolution of each channel by itself that keeps the size of the map."""
        channels = self.in_channels
        padding = [dilation * (n - 1) // 2 for n in size]
        return nn.Conv2d(
            channels, channels, size, padding=padding, dilation=dilation, groups=channels
        )


@MODELS.register_module()
class LKA(LargeKernel):
    """A map times what a 21x21 kernel makes of it, decomposed into small convolutions.

    Formula:
        y = x * conv_1x1(dw_7x7, dilation 3 (dw_5x5(x)))
        with proj: y = conv_1x1(LKA(gelu(conv_1x1(x)))) + x

    Args:
        proj: Whether 1x1 convolutions and a GELU surround it, and x is added: the
            original's Attention.
    """

    def __init__(self, in_channels: int, proj: bool = False, warm_start: bool = False) -> None:
        super().__init__(in_channels, proj, warm_start)

    def build(self) -> None:
        self.conv0 = self.depthwise((5, 5))
        self.conv_spatial = self.depthwise((7, 7), dilation=3)
        self.conv1 = nn.Conv2d(self.in_channels, self.in_channels, 1)
        self.init_own()

    def init_own(self) -> None:
        # With proj those of the unit, an LKA too.
        convs = () if self.proj else (self.conv0, self.conv_spatial, self.conv1)
        for conv in convs:
            fan_out = math.prod(conv.kernel_size) * conv.out_channels // conv.groups
            nn.init.normal_(conv.weight, std=math.sqrt(2 / fan_out))
            nn.init.zeros_(conv.bias)

    def unit(self, x: Tensor) -> Tensor:
        return gated(x, self.conv1(self.conv_spatial(self.conv0(x))))
