"""SK: selective kernel.

Paper: Selective Kernel Networks, CVPR 2019, arXiv:1903.06586. Checked against
huggingface/pytorch-image-models (Apache-2.0; the official code is Caffe).

Place: instead of the 3x3 convolution of a block; here behind it.

Deviations: none from that source, which gives each path a slice of the channels;
in the paper each has them all: ``split_input=False``.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, batch_norm
from mmattn.registry import MODELS


class _Path(nn.Module):
    """Convolution, norm, ReLU."""

    def __init__(
        self, attention: Attention, channels: int, size: int, dilation: int, norm_cfg: dict | None
    ) -> None:
        super().__init__()
        padding = dilation * (size - 1) // 2
        self.conv = nn.Conv2d(
            channels, attention.in_channels, size, padding=padding, dilation=dilation, bias=False
        )
        self.bn = batch_norm(attention, attention.in_channels, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class _Selection(nn.Module):
    """The share of each path in each channel."""

    def __init__(self, attention: Attention, paths: int, hidden: int, norm_cfg: dict | None):
        super().__init__()
        channels = attention.in_channels
        self.paths = paths
        self.fc_reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn = batch_norm(attention, hidden, norm_cfg)
        self.fc_select = nn.Conv2d(hidden, paths * channels, 1, bias=False)

    def forward(self, means: Tensor) -> Tensor:
        """(N, C) -> (N, paths, C)."""
        hidden = self.bn(self.fc_reduce(means[:, :, None, None])).relu()
        return self.fc_select(hidden).flatten(1).unflatten(1, (self.paths, -1)).softmax(1)


@MODELS.register_module()
class SK(Attention):
    """Convolutions of several sizes, weighed by a softmax channel by channel.

    Formula:
        f_i = relu(BN(conv_i(x_i))), C channels each
        a = softmax over i of W2 relu(BN(W1 mean_hw(sum_i f_i)))
        y = sum_i f_i a_i

    Args:
        kernel_size: Odd kernel size of each path.
        rd_ratio: C is multiplied with it in the hidden layer; positive.
        rd_divisor: The hidden layer's channels are rounded to a multiple of it, at least
            one; positive.
        keep_3x3: Whether larger kernels are 3x3 with a dilation that reaches as far.
        split_input: Whether x_i is the i-th slice of the channels (their number then divides
            C), not all of x.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        kernel_size: tuple[int, ...] = (3, 5),
        rd_ratio: float = 1 / 16,
        rd_divisor: int = 8,
        keep_3x3: bool = True,
        split_input: bool = True,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        sizes = checks.several(self, 'kernel_size', kernel_size, least=2)
        for size in sizes:
            checks.odd(self, 'kernel_size', size)
        checks.require(self, rd_ratio > 0, f'rd_ratio must be positive, got {rd_ratio!r}')
        checks.positive(self, 'rd_divisor', rd_divisor)
        width = in_channels
        if split_input:
            otherwise = ', or split_input=False'
            checks.multiple(self, len(sizes), f'is no multiple of {len(sizes)} paths', otherwise)
            width //= len(sizes)
        self.split_input = split_input
        self.paths = nn.ModuleList()
        for size in sizes:
            reach = (3, (size - 1) // 2) if keep_3x3 and size > 3 else (size, 1)
            self.paths.append(_Path(self, width, *reach, norm_cfg))
        hidden = _rounded(in_channels * rd_ratio, rd_divisor)
        self.attn = _Selection(self, len(sizes), hidden, norm_cfg)

    def attend(self, x: Tensor) -> Tensor:
        count = len(self.paths)
        parts = x.chunk(count, 1) if self.split_input else [x] * count
        features = [path(parts[i]) for i, path in enumerate(self.paths)]
        features = torch.cat(features, 1)  # (N, paths * C, H, W)
        means = kernels.mean(features).unflatten(1, (count, -1)).sum(1)
        shares = self.attn(means.to(features.dtype))
        return sum(kernels.gate(features, channels=shares.flatten(1)).chunk(count, 1))


def _rounded(channels: float, divisor: int) -> int:
    """To a multiple of ``divisor``, not 0, nor below 0.9 of what it was."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
