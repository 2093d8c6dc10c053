"""Triplet: triplet attention.

Paper: Rotate to Attend: Convolutional Triplet Attention Module, WACV 2021,
arXiv:2010.03045. Checked against landskape-ai/triplet-attention (MIT), whose published
checkpoints have older names, which are read too.

Place: on the block's output; in a MobileNetV2 behind the projection's norm.

Deviations: the size of the kernel, 7 in the original, is an argument (of its
MobileNetV2 checkpoints some have 3). Where several values are the largest, they
share the gradient.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, batch_norm
from mmattn.registry import MODELS

# Our gate -> the names of it in checkpoints.
NAMES = {
    'cw': ('cw.conv', 'ChannelGateH.spatial'),
    'hc': ('hc.conv', 'ChannelGateW.spatial'),
    'hw': ('hw.conv', 'SpatialGate.spatial'),
}


class _Gate(nn.Module):
    """A gate per place of a plane from the maximum and the mean across it."""

    def __init__(self, attention: 'Triplet', kernel_size: int, norm_cfg: dict | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = batch_norm(attention, 1, norm_cfg, momentum=0.01)

    def forward(self, largest: Tensor, mean: Tensor) -> Tensor:
        """Two planes (N, A, B) -> their gate (N, A, B)."""
        return self.norm(self.conv(torch.stack((largest, mean), 1))).sigmoid()[:, 0]


@MODELS.register_module()
class Triplet(GateAttention):
    """The mean of three gates: of the planes of the map seen from each of its sides.

    Formula:
        G(p) = sigmoid(BN(conv_7x7([max(p), mean(p)]))), over the side that is not in the plane
        y = x * (G_cw(x) + G_hc(x) + G_hw(x)) / 3; without the last (G_cw + G_hc) / 2

    Args:
        no_spatial: Leave out the gate of the height and the width.
        kernel_size: Odd size of the convolutions.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm of momentum
            0.01. A backbone fills in its own kind of BatchNorm (SyncBN, ...).
    """

    original_keys = {
        f'{old}.{theirs}': f'{new}.{ours}'
        for new, olds in NAMES.items()
        for old in olds
        for theirs, ours in (('conv', 'conv'), ('bn', 'norm'))
    }

    def __init__(
        self,
        in_channels: int,
        no_spatial: bool = False,
        kernel_size: int = 7,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.odd(self, 'kernel_size', kernel_size)
        self.cw = _Gate(self, kernel_size, norm_cfg)
        self.hc = _Gate(self, kernel_size, norm_cfg)
        self.hw = None if no_spatial else _Gate(self, kernel_size, norm_cfg)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        rows, columns = kernels.means(x)
        across_height = self.cw(x.amax(2), columns)  # (N, C, W)
        across_width = self.hc(x.amax(3).transpose(1, 2), rows.transpose(1, 2))  # (N, H, C)
        gates = [across_height[:, :, None], across_width.transpose(1, 2)[:, :, :, None]]
        if self.hw is not None:
            gates.append(self.hw(x.amax(1), x.mean(1))[:, None])
        return dict(planes=sum(gates) / len(gates))
