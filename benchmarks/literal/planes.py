"""Attention with gates on planes of the map: over its places, or a channel and a side of it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BAM(nn.Module):
    """Bottleneck attention, BMVC 2018, arXiv:1807.06514 (r = 16, dilation 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16

        def layer(width: int, size: int, dilation: int = 1) -> nn.Sequential:
            padding = dilation * (size // 2)
            conv = nn.Conv2d(width, hidden, size, padding=padding, dilation=dilation)
            return nn.Sequential(conv, nn.BatchNorm2d(hidden), nn.ReLU(inplace=True))

        self.pool = nn.AdaptiveAvgPool2d(1)
        self.channel_layers = nn.Sequential(layer(channels, 1))
        self.channel_out = nn.Conv2d(hidden, channels, 1)
        self.reduce = layer(channels, 1)
        self.dilated = nn.Sequential(layer(hidden, 3, 4), layer(hidden, 3, 4))
        self.spatial_out = nn.Conv2d(hidden, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        channel = self.channel_out(self.channel_layers(self.pool(x))).expand_as(x)
        spatial = self.spatial_out(self.dilated(self.reduce(x))).expand_as(x)
        return x + x * torch.sigmoid(channel * spatial)


class GAM(nn.Module):
    """Global attention mechanism, arXiv:2112.05561 (rate 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.channel_attention = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 7, padding=3),
            nn.BatchNorm2d(channels),
        )

    def mlp(self, x: Tensor) -> Tensor:
        """The two layers on the channels of every place, which come last."""
        first, _, last = self.channel_attention
        hidden = F.relu(F.linear(x, first.weight.flatten(1), first.bias))
        return F.linear(hidden, last.weight.flatten(1), last.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).sigmoid()
        return x * self.spatial_attention(x).sigmoid()


class SGE(nn.Module):
    """Spatial group-wise enhance, arXiv:1905.09646."""

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        self.groups = groups
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        groups = x.reshape(n * self.groups, -1, h, w)
        likeness = (groups * self.pool(groups)).sum(dim=1).view(n * self.groups, h * w)
        centred = likeness - likeness.mean(dim=1, keepdim=True)
        normed = centred / (centred.std(dim=1, keepdim=True) + 1e-5)
        logits = normed.view(n, self.groups, h, w) * self.weight + self.bias
        gate = logits.view(n * self.groups, 1, h, w).sigmoid()
        return (groups * gate).view(n, c, h, w)


class _ZGate(nn.Module):
    """Maximum and mean over the first axis, a 7 x 7 convolution, a gate on the other two."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack((torch.max(x, dim=1)[0], torch.mean(x, dim=1)), dim=1)
        return x * self.norm(self.conv(pooled)).sigmoid()


class Triplet(nn.Module):
    """Rotate to Attend, WACV 2021, arXiv:2010.03045."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cw, self.hc, self.hw = _ZGate(), _ZGate(), _ZGate()

    def forward(self, x: Tensor) -> Tensor:
        height_first = self.cw(x.permute(0, 2, 1, 3).contiguous())
        width_first = self.hc(x.permute(0, 3, 2, 1).contiguous())
        first = height_first.permute(0, 2, 1, 3).contiguous()
        second = width_first.permute(0, 3, 2, 1).contiguous()
        return (first + second + self.hw(x)) / 3


class _AxisGate(nn.Module):
    """Mean and deviation over two axes, joined by two shares, convolved along the other one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2))
        self.conv = nn.Conv2d(1, 1, (1, size), padding=(0, size // 2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3))
        deviation = x.flatten(2).std(dim=2)
        u, v = torch.sigmoid(self.weight)
        joined = (mean + deviation) / 2 + u * mean + v * deviation
        gate = self.conv(joined[:, None, None]).sigmoid().view(*mean.shape, 1, 1)
        return x * gate.expand_as(x)


class MCA(nn.Module):
    """Multidimensional collaborative attention, EAAI 2023: height, width and channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = round(abs(math.log2(channels) - 1) / 1.5)
        self.h_cw = _AxisGate(3)
        self.w_hc = _AxisGate(3)
        self.c_hw = _AxisGate(size if size % 2 else size - 1)

    def forward(self, x: Tensor) -> Tensor:
        height = self.h_cw(x.permute(0, 2, 1, 3).contiguous()).permute(0, 2, 1, 3).contiguous()
        width = self.w_hc(x.permute(0, 3, 2, 1).contiguous()).permute(0, 3, 2, 1).contiguous()
        return (self.c_hw(x) + height + width) / 3
