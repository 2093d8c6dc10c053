"""CPCA: channel prior convolutional attention.

Paper: Channel Prior Convolutional Attention for Medical Image Segmentation,
Computers in Biology and Medicine 2024, arXiv:2306.05196. Checked against
Cuthbert-Huang/CPCANet (RepBlock).

Deviations: at least one hidden channel. The original reduces by 4; the default
is the SCSA paper's 16.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention.base import Attention, hidden_channels
from mmattn.kernels.stripes import SIZES
from mmattn.registry import MODELS

# In the order of kernels.stripes.
DEPTHWISE = [f'dconv{height}_{width}' for height, width in SIZES]


class _ChannelGate(nn.Module):
    """Sum of the gates from the mean and from the maximum, (N, C)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        descriptors = torch.stack(kernels.mean_max(x))  # (2, N, C)
        hidden = F.linear(descriptors, self.fc1.weight.flatten(1), self.fc1.bias).relu()
        return F.linear(hidden, self.fc2.weight.flatten(1), self.fc2.bias).sigmoid().sum(0)


@MODELS.register_module()
class CPCA(Attention):
    """A channel gate, then a spatial gate per channel from stripe convolutions.

    Formula:
        f = gelu(W x); f' = f * (sigmoid(M(mean_hw(f))) + sigmoid(M(max_hw(f))))
        y = W (f' * W (d + sum over k in 7, 11, 21 of dw_kx1(dw_1xk(d)))), d = dw_5x5(f')

    Args:
        reduction: C is divided by it in the hidden layer of the channel gate; positive.
    """

    placement = 'inner'

    def __init__(self, in_channels: int, reduction: int = 16, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.ca = _ChannelGate(in_channels, hidden_channels(self, reduction))
        for name, size in zip(DEPTHWISE, SIZES, strict=True):
            self._add_depthwise(name, size)
        # One 1x1 convolution serves before, between and after the gates.
        self.conv = nn.Conv2d(in_channels, in_channels, 1)

    def _add_depthwise(self, name: str, size: tuple[int, int]) -> None:
        channels, padding = self.in_channels, (size[0] // 2, size[1] // 2)
        self.add_module(name, nn.Conv2d(channels, channels, size, padding=padding, groups=channels))

    def attend(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv(x))
        x = kernels.gate(x, channels=self.ca(x))
        layers = [getattr(self, name) for name in DEPTHWISE]
        weights = torch.cat([layer.weight.flatten(1) for layer in layers], 1)
        biases = torch.stack([layer.bias for layer in layers], 1)
        spatial = self.conv(kernels.stripes(x, weights, biases))
        return self.conv(x * spatial.to(x.dtype))
