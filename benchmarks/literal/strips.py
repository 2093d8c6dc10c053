"""Attention along rows and columns: CA, ELA, SCSA and its halves."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CA(nn.Module):
    """Coordinate attention, CVPR 2021, arXiv:2103.02907, eq. 4 to 9 (r = 32)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 32)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv_h = nn.Conv2d(hidden, channels, 1)
        self.conv_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        y = torch.cat([self.pool_h(x), self.pool_w(x).permute(0, 1, 3, 2)], dim=2)
        y = self.bn1(self.conv1(y))
        y = y * F.relu6(y + 3) / 6
        rows, columns = torch.split(y, [h, w], dim=2)
        rows = self.conv_h(rows).sigmoid()
        columns = self.conv_w(columns.permute(0, 1, 3, 2)).sigmoid()
        return x * columns * rows


class ELA(nn.Module):
    """Efficient local attention, arXiv:2403.01123, eq. 3 to 7 (kernel 7, 16 groups)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 7, padding=3, groups=channels, bias=False)
        self.gn = nn.GroupNorm(16, channels)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = torch.mean(x, dim=3, keepdim=True).view(n, c, h)
        columns = torch.mean(x, dim=2, keepdim=True).view(n, c, w)
        rows = self.sigmoid(self.gn(self.conv(rows))).view(n, c, h, 1)
        columns = self.sigmoid(self.gn(self.conv(columns))).view(n, c, 1, w)
        return x * rows * columns


class SMSA(nn.Module):
    """The spatial half of SCSA, Neurocomputing 2025, arXiv:2407.05128, section 3.1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = width = channels // 4
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, size, padding=size // 2, groups=width) for size in (3, 5, 7, 9)
        )
        self.norm_h = nn.GroupNorm(4, channels)
        self.norm_w = nn.GroupNorm(4, channels)
        self.gate = nn.Sigmoid()

    def branches(self, strip: Tensor) -> Tensor:
        parts = torch.split(strip, self.width, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = self.gate(self.norm_h(self.branches(x.mean(dim=3)))).view(n, c, h, 1)
        columns = self.gate(self.norm_w(self.branches(x.mean(dim=2)))).view(n, c, 1, w)
        return x * rows * columns


class PCSA(nn.Module):
    """The channel half of SCSA, arXiv:2407.05128, section 3.2: one head, 7 x 7 windows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(7, stride=7)
        self.norm = nn.GroupNorm(1, channels)
        self.q = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.k = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.v = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        y = self.norm(self.pool(x))
        h, w = y.shape[2:]
        q, k, v = (layer(y).reshape(n, 1, c, h * w) for layer in (self.q, self.k, self.v))
        weights = (q @ k.transpose(-2, -1) * c**-0.5).softmax(dim=-1)  # (N, 1, C, C)
        y = (weights @ v).reshape(n, c, h, w)
        return self.gate(y.mean((2, 3), keepdim=True)) * x


class SCSA(nn.Module):
    """Spatial and channel synergistic attention, arXiv:2407.05128, eq. 13."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.smsa = SMSA(channels)
        self.pcsa = PCSA(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.pcsa(self.smsa(x))
