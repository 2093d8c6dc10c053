"""Channel attention: one factor per channel."""

import math

import torch
from torch import Tensor, nn

from mmattn.attention.fca import FREQUENCIES


class SE(nn.Module):
    """Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507, eq. 2 to 4."""

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(channels, channels // reduction, bias=bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(channels // reduction, channels, bias=bias)
        self.sigmoid = nn.Sigmoid()

    def squeeze(self, x: Tensor) -> Tensor:
        return self.pool(x).view(x.shape[0], x.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        scale = self.sigmoid(self.fc2(self.relu(self.fc1(self.squeeze(x)))))
        return x * scale.view(x.shape[0], x.shape[1], 1, 1).expand_as(x)


class CSE(SE):
    """Spatial squeeze, channel excitation, MICCAI 2018, arXiv:1803.02579, section 2.1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, reduction=2, bias=True)


class ECA(nn.Module):
    """ECA-Net, CVPR 2020, arXiv:1910.03151, eq. 9 and 12 (gamma = 2, b = 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + 1) / 2))
        size = size if size % 2 else size + 1
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, size, padding=(size - 1) // 2, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(x)  # (N, C, 1, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * self.sigmoid(y).expand_as(x)


class FCA(SE):
    """FcaNet, ICCV 2021, arXiv:2012.11879, eq. 6 and 13: 16 frequencies of the DCT."""

    def __init__(self, channels: int, dct_size: int = 7) -> None:
        super().__init__(channels)
        self.pool = nn.AdaptiveAvgPool2d(dct_size)
        planes = torch.zeros(channels, dct_size, dct_size)
        share = channels // 16
        for i, pair in enumerate(FREQUENCIES['top'].split()[:16]):
            # The frequencies are those of a 7 x 7 grid.
            u, v = (int(digit) * (dct_size // 7) for digit in pair)
            planes[i * share : (i + 1) * share] = torch.outer(
                self._basis(u, dct_size), self._basis(v, dct_size)
            )
        self.register_buffer('planes', planes, persistent=False)

    @staticmethod
    def _basis(frequency: int, size: int) -> Tensor:
        places = torch.arange(size, dtype=torch.float64)
        cosine = torch.cos(math.pi * frequency * (places + 0.5) / size) / math.sqrt(size)
        return cosine if frequency == 0 else cosine * math.sqrt(2)

    def squeeze(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.planes.shape[1:]:
            x = self.pool(x)
        return torch.sum(x * self.planes, dim=[2, 3])


class SPSE(SE):
    """Spatial pyramid SE, Pattern Recognition 2022: means over 1, 2 x 2 and 4 x 4 windows."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, bias=True)
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(grid) for grid in (1, 2, 4))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, grid, groups=channels) for grid in (1, 2, 4)
        )
        self.norm = nn.BatchNorm2d(channels)

    def squeeze(self, x: Tensor) -> Tensor:
        y = self.convs[0](self.pools[0](x))
        y = y + self.convs[1](self.pools[1](x))
        y = y + self.convs[2](self.pools[2](x))
        return self.relu(self.norm(y)).flatten(1)


class RGSE(SE):
    """Regional SE, Pattern Recognition 2022: one depthwise convolution over a grid of means."""

    def __init__(self, channels: int, grid: int = 1) -> None:
        super().__init__(channels, bias=True)
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.grid = grid
        if grid > 1:
            self.conv = nn.Conv2d(channels, channels, grid, groups=channels, bias=False)
            self.norm = nn.BatchNorm2d(channels)

    def squeeze(self, x: Tensor) -> Tensor:
        y = self.pool(x)
        if self.grid > 1:
            y = self.norm(self.conv(y))
        return self.relu(y).flatten(1)
