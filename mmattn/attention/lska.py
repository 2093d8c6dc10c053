"""LSKA: large separable kernel attention.

Paper: Large Separable Kernel Attention: Rethinking the Large Kernel Attention
Design in CNN, Expert Systems with Applications 2024, arXiv:2309.01439. Checked
against StevenLauHKHK/Large-Separable-Kernel-Attention (Apache-2.0).

Place: as LKA.

Deviations: a kernel size without a decomposition, of which the original builds
an empty module, is refused. The original has no default size; here it is that
of the published VAN-LSKA weights, 23.
"""

from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Weights, gated
from mmattn.attention.lka import LargeKernel
from mmattn.registry import MODELS

# Kernel size -> sizes of the plain and of the dilated strips, and the dilation.
SIZES = {
    7: (3, 3, 2),
    11: (3, 5, 2),
    23: (5, 7, 3),
    35: (5, 11, 3),
    41: (5, 13, 3),
    53: (5, 17, 3),
}


@MODELS.register_module()
class LSKA(LargeKernel):
    """LKA with each depthwise kernel as a row after a column.

    Formula:
        y = x * conv_1x1(dw_bx1(dw_1xb(dw_ax1(dw_1xa(x))))), those of b dilated by r
        with proj: y = conv_1x1(LSKA(gelu(conv_1x1(x)))) + x

    Args:
        kernel_size: One of 7, 11, 23, 35, 41, 53 (the original's k_size), with
            (a, b, r) = (3, 3, 2), (3, 5, 2), (5, 7, 3), (5, 11, 3), (5, 13, 3), (5, 17, 3).
        proj: Whether 1x1 convolutions and a GELU surround it, and x is added: the
            original's Attention.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 23,
        proj: bool = False,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, proj, warm_start, kernel_size=kernel_size)

    def build(self, kernel_size: int) -> None:
        valid = ', '.join(map(str, SIZES))
        message = f'kernel_size must be one of {valid}, got {kernel_size!r}'
        checks.require(self, kernel_size in SIZES, message)
        near, far, dilation = SIZES[kernel_size]
        self.conv0h = self.depthwise((1, near))
        self.conv0v = self.depthwise((near, 1))
        self.conv_spatial_h = self.depthwise((1, far), dilation)
        self.conv_spatial_v = self.depthwise((far, 1), dilation)
        self.conv1 = nn.Conv2d(self.in_channels, self.in_channels, 1)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        proj = 'proj_1.weight' in weights
        prefix = 'spatial_gating_unit.' if proj else ''
        found = [
            weights[f'{prefix}{name}.weight'].shape[-1] for name in ('conv0h', 'conv_spatial_h')
        ]
        sizes = [size for size, strips in SIZES.items() if [*strips[:2]] == found]
        return dict(kernel_size=sizes[0], proj=proj)

    def unit(self, x: Tensor) -> Tensor:
        strips = self.conv_spatial_v(self.conv_spatial_h(self.conv0v(self.conv0h(x))))
        return gated(x, self.conv1(strips))
