"""CoT: contextual transformer.

Paper: Contextual Transformer Networks for Visual Recognition, TPAMI 2022,
arXiv:2107.12292. Checked against JDAI-CV/CoTNet (Apache-2.0).

Place: in the paper in place of the 3x3 convolution of a bottleneck, its norm and
ReLU (with stride 2, behind a 3x3 mean pooling); here behind that one.

Deviations: none. (CoTAttention of xmu-xiaoma666's collection is another one.)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, batch_norm, gated, group_norm
from mmattn.kernels.primitive import is_channels_last
from mmattn.registry import MODELS


@MODELS.register_module()
class CoT(Attention):
    """Local attention whose weights come from each place and the context of its neighbours.

    Its weights take K * K / 8 times the memory of the input, K being the kernel size.

    Formula:
        k = relu(BN(conv_KxK(x))), in 4 groups
        w = GN(W2 relu(BN(W1 [x, k]))), K * K weights per place for C / 8 channels in turn
        u = silu(BN(sum over the KxK neighbours of w * BN(V x)))
        a = softmax over the two of W4 relu(BN(W3 mean_hw(u + k)))
        y = a_1 u + a_2 k

    Args:
        kernel_size: Odd side of the neighbourhood (K).
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone
            fills in its own kind of BatchNorm (SyncBN, ...).
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 3,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.odd(self, 'kernel_size', kernel_size)
        checks.multiple(self, 8, 'is not a multiple of 8')
        self.kernel_size = kernel_size

        def layer(channels: int, hidden: int, size: int = 1, **options) -> list[nn.Module]:
            conv = nn.Conv2d(channels, hidden, size, padding=size // 2, **options)
            return [conv, batch_norm(self, hidden, norm_cfg)]

        eighth, weights = in_channels // 8, kernel_size**2 * in_channels // 8
        half, hidden = in_channels // 2, max(in_channels // 2, 32)
        keys = layer(in_channels, in_channels, kernel_size, groups=4, bias=False)
        self.key_embed = nn.Sequential(*keys, nn.ReLU())
        self.embed = nn.Sequential(
            *layer(2 * in_channels, half, bias=False),
            nn.ReLU(),
            nn.Conv2d(half, weights, 1),
            nn.GroupNorm(eighth, weights),
        )
        self.conv1x1 = nn.Sequential(*layer(in_channels, in_channels, bias=False))
        self.bn = batch_norm(self, in_channels, norm_cfg)
        self.se = nn.Sequential(
            *layer(in_channels, hidden), nn.ReLU(), nn.Conv2d(hidden, 2 * in_channels, 1)
        )

    def attend(self, x: Tensor) -> Tensor:
        keys = self.key_embed(x)
        weights = torch.cat((x.to(keys.dtype), keys), 1)
        for layer in self.embed[:-1]:
            weights = layer(weights)
        weights = group_norm(self.embed[-1], weights)
        values = F.silu(self.bn(self._local(weights, self.conv1x1(x))))
        logits = self.se(kernels.mean(values + keys)[:, :, None, None])
        shares = logits.unflatten(1, (-1, 2)).softmax(2)  # (N, C, 2, 1, 1)
        return gated(values, shares[:, :, 0]) + gated(keys, shares[:, :, 1])

    def _local(self, weights: Tensor, values: Tensor) -> Tensor:
        """The neighbours of each place, weighed; without the K * K copies of an unfold."""
        height, width = values.shape[2:]
        last = is_channels_last(values)
        size, eighth = self.kernel_size, self.in_channels // 8
        weights = weights.unflatten(1, (eighth, size * size))[:, None]  # (N, 1, C/8, K*K, H, W)
        values = F.pad(values, (size // 2,) * 4).unflatten(1, (8, eighth))
        out = None
        for i in range(size * size):
            y, x = divmod(i, size)
            term = weights[:, :, :, i] * values[:, :, :, y : y + height, x : x + width]
            out = term if out is None else out + term
        out = out.flatten(1, 2)
        return out.contiguous(memory_format=torch.channels_last) if last else out
