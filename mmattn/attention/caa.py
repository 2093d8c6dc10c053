"""CAA: context anchor attention.

Paper: Poly Kernel Inception Network for Remote Sensing Detection, CVPR 2024,
arXiv:2403.06258. Checked against PKINet/PKINet (Apache-2.0).

Place: PKINet multiplies the output of its inception branch with it.

Deviations: the original returns the gate, this the map times it. PKINet is built
with ``norm=False, act=False`` and kernels of 11 + 2 * block index.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention import checks
from mmattn.attention.base import Attention, Weights, batch_norm, gated
from mmattn.registry import MODELS


class _Pointwise(nn.Module):
    """1x1 convolution, norm, SiLU."""

    def __init__(self, attention: Attention, norm: bool, act: bool, norm_cfg: dict | None) -> None:
        super().__init__()
        channels = attention.in_channels
        self.act = act
        self.conv = nn.Conv2d(channels, channels, 1, bias=not norm)
        options = dict(momentum=0.03, eps=1e-3)
        self.bn = batch_norm(attention, channels, norm_cfg, **options) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x if self.bn is None else self.bn(x)
        return F.silu(x) if self.act else x


class _Strip(nn.Module):
    """A depthwise convolution under the key that mmcv's ConvModule gives it."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        padding = [n // 2 for n in size]
        self.conv = nn.Conv2d(channels, channels, size, padding=padding, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@MODELS.register_module()
class CAA(Attention):
    """A gate per element from local means and long strips.

    Formula:
        y = x * sigmoid(P2(dw_vx1(dw_1xh(P1(mean_7x7(x)))))), P = silu(BN(conv_1x1(.)))

    Args:
        h_kernel_size: Odd width of the horizontal strip.
        v_kernel_size: Odd height of the vertical strip.
        norm: Whether norms follow the 1x1 convolutions, which otherwise have biases (the
            original's norm_cfg).
        act: Whether a SiLU follows them (the original's act_cfg).
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm of momentum 0.03
            and eps 1e-3. A backbone fills in its own kind of BatchNorm (SyncBN, ...).
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        h_kernel_size: int = 11,
        v_kernel_size: int = 11,
        norm: bool = True,
        act: bool = True,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.odd(self, 'h_kernel_size', h_kernel_size)
        checks.odd(self, 'v_kernel_size', v_kernel_size)
        self.conv1 = _Pointwise(self, norm, act, norm_cfg)
        self.h_conv = _Strip(in_channels, (1, h_kernel_size))
        self.v_conv = _Strip(in_channels, (v_kernel_size, 1))
        self.conv2 = _Pointwise(self, norm, act, norm_cfg)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(
            h_kernel_size=weights['h_conv.conv.weight'].shape[-1],
            v_kernel_size=weights['v_conv.conv.weight'].shape[-2],
            norm='conv1.bn.weight' in weights,
        )

    def attend(self, x: Tensor) -> Tensor:
        strips = self.v_conv(self.h_conv(self.conv1(F.avg_pool2d(x, 7, 1, 3))))
        return gated(x, self.conv2(strips).sigmoid())
