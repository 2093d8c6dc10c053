"""CBAM: a channel gate followed by a spatial gate.

Paper: CBAM: Convolutional Block Attention Module, ECCV 2018,
arXiv:1807.06521. Checked against Jongchan/attention-module (MIT).

Deviations: at least one hidden channel. The SCSA paper's parameter counts are
those of ``bias=False, norm=False``; the original has both.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Weights, batch_norm, gated
from mmattn.attention.se import Excitation
from mmattn.kernels.primitive import runs_pure
from mmattn.registry import MODELS


@MODELS.register_module()
class CBAM(Excitation):
    """Gates of the channels (shared MLP on mean and maximum), then of the places.

    Formula:
        x' = x * sigmoid(M(mean_hw(x)) + M(max_hw(x))), M = W2 relu(W1 .)
        y = x' * sigmoid(BN(conv_7x7([max_c(x'), mean_c(x')])))

    Args:
        reduction: C is divided by it in the hidden layer of the MLP; positive.
        kernel_size: Odd size of the spatial convolution.
        bias: Whether the MLP has biases.
        norm: Whether a BatchNorm follows the spatial convolution.
        norm_cfg: mmcv's config of that norm layer; None is a BatchNorm of momentum
            0.01. A backbone fills in its own kind of BatchNorm (SyncBN, ...).
    """

    original_keys = {
        'ChannelGate.mlp.1': 'fc1',
        'ChannelGate.mlp.3': 'fc2',
        'SpatialGate.spatial.conv': 'conv',
        'SpatialGate.spatial.bn': 'norm',
    }

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        kernel_size: int = 7,
        bias: bool = True,
        norm: bool = True,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, reduction, bias, warm_start)
        checks.odd(self, 'kernel_size', kernel_size)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = batch_norm(self, 1, norm_cfg, momentum=0.01) if norm else nn.Identity()

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(
            **super().arguments_from(channels, weights),
            kernel_size=weights['conv.weight'].shape[-1],
            bias='fc1.bias' in weights,
            norm='norm.weight' in weights,
        )

    def attend(self, x: Tensor) -> Tensor:
        if not runs_pure(x):
            return super().attend(x)
        # The map times the first gate is at hand for the second.
        x = gated(x, self._channels(x)[:, :, None, None])
        planes = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        return gated(x, self.norm(self.conv(planes)).sigmoid())

    def _channels(self, x: Tensor) -> Tensor:
        descriptors = torch.stack(kernels.mean_max(x))  # (2, N, C)
        return self.excite(descriptors).sum(0).sigmoid()

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        channels = self._channels(x)
        planes = self.conv(kernels.channel_pool(x, channels))
        return dict(channels=channels, planes=self.norm(planes).sigmoid())
