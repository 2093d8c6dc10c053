"""SRM: style-based recalibration.

Paper: SRM: A Style-based Recalibration Module for Convolutional Neural Networks,
ICCV 2019, arXiv:1903.10829. Checked against
hyunjaelee410/style-based-recalibration-module (outputs only; no licence).

Place: on the block's output, as SE.

Deviations: on a map of one element the standard deviation is that of no variance
(the original's is not a number).
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention.base import GateAttention, batch_norm
from mmattn.attention.pooling import sample_deviation
from mmattn.kernels.primitive import cast, wide_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class SRM(GateAttention):
    """Channel gate from the mean and the standard deviation, each channel by itself.

    Formula:
        z = w0 mean_hw(x) + w1 sqrt(var_hw(x) + 1e-5), the variance over HW - 1
        y = x * sigmoid(BN(z))

    Args:
        norm_cfg: mmcv's config of the norm layer; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    any_dims = True

    def __init__(
        self, in_channels: int, warm_start: bool = False, norm_cfg: dict | None = None
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.cfc = nn.Parameter(torch.zeros(in_channels, 2))
        self.bn = batch_norm(self, in_channels, norm_cfg)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        mean = kernels.mean(x)
        variance = cast(sample_deviation(x, (2, 3)), wide_dtype(x)).square()
        deviation = cast((variance + 1e-5).sqrt(), x.dtype)
        weights = cast(self.cfc, x.dtype)
        style = mean * weights[:, 0] + deviation * weights[:, 1]
        return dict(channels=self.bn(style[:, :, None, None]).sigmoid().flatten(1))
