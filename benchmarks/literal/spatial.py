"""Attention with a factor per place: of the map, of a group of channels, of every element."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from literal.channel import CSE


class SSE(nn.Module):
    """Channel squeeze, spatial excitation, MICCAI 2018, arXiv:1803.02579, section 2.2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return torch.mul(x, self.sigmoid(self.conv(x)))


class SCSE(nn.Module):
    """Concurrent spatial and channel SE, arXiv:1803.02579, joined by the maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cse = CSE(channels)
        self.sse = SSE(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.max(self.cse(x), self.sse(x))


class CBAM(nn.Module):
    """Convolutional Block Attention Module, ECCV 2018, arXiv:1807.06521, eq. 2 and 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.max_pool = nn.AdaptiveMaxPool2d(1)
        self.fc1 = nn.Linear(channels, channels // 16)
        self.fc2 = nn.Linear(channels // 16, channels)
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def mlp(self, pooled: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(pooled.flatten(1))))

    def forward(self, x: Tensor) -> Tensor:
        channel = self.mlp(self.avg_pool(x)) + self.mlp(self.max_pool(x))
        x = x * torch.sigmoid(channel).unsqueeze(2).unsqueeze(3).expand_as(x)
        strongest, mean = torch.max(x, 1)[0], torch.mean(x, 1)
        planes = torch.cat((strongest.unsqueeze(1), mean.unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.norm(self.conv(planes)))


class SimAM(nn.Module):
    """SimAM, ICML 2021, eq. 5 (the inverse energy of every element), lambda = 1e-4."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[2] * x.shape[3] - 1
        d = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        v = d.sum(dim=[2, 3], keepdim=True) / n
        return x * torch.sigmoid(d / (4 * (v + 1e-4)) + 0.5)


class SA(nn.Module):
    """SA-Net, ICASSP 2021, arXiv:2102.00240, eq. 2 to 5, and the channel shuffle."""

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        width = channels // (2 * groups)
        self.groups = groups
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.cweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.gn = nn.GroupNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        a, b = x.reshape(n * self.groups, -1, h, w).chunk(2, dim=1)
        a = a * torch.sigmoid(self.cweight * self.pool(a) + self.cbias)
        b = b * torch.sigmoid(self.sweight * self.gn(b) + self.sbias)
        out = torch.cat([a, b], dim=1).reshape(n, 2, c // 2, h, w)
        return out.permute(0, 2, 1, 3, 4).reshape(n, c, h, w)


class EMA(nn.Module):
    """Efficient multi-scale attention, ICASSP 2023, arXiv:2305.13563, section 3, 32 groups."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 32
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.gn = nn.GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, 1)
        self.conv3x3 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        groups = x.reshape(n * 32, -1, h, w)
        rows, columns = self.pool_h(groups), self.pool_w(groups).permute(0, 1, 3, 2)
        rows, columns = torch.split(self.conv1x1(torch.cat([rows, columns], dim=2)), [h, w], dim=2)
        u = self.gn(groups * rows.sigmoid() * columns.permute(0, 1, 3, 2).sigmoid())
        v = self.conv3x3(groups)
        u_weights = torch.softmax(self.pool(u).flatten(1), 1).unsqueeze(1)  # (32 N, 1, C / 32)
        v_weights = torch.softmax(self.pool(v).flatten(1), 1).unsqueeze(1)
        logits = torch.matmul(u_weights, v.flatten(2)) + torch.matmul(v_weights, u.flatten(2))
        return (groups * logits.reshape(n * 32, 1, h, w).sigmoid()).reshape(n, c, h, w)


class _ChannelGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))).sigmoid()
        peak = self.fc2(F.relu(self.fc1(F.adaptive_max_pool2d(x, 1)))).sigmoid()
        return mean + peak


class CPCA(nn.Module):
    """Channel prior convolutional attention, 2024, arXiv:2306.05196, eq. 1 to 4 (r = 16)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ca = _ChannelGate(channels)
        self.dconv5_5 = self._depthwise(channels, 5, 5)
        self.dconv1_7 = self._depthwise(channels, 1, 7)
        self.dconv7_1 = self._depthwise(channels, 7, 1)
        self.dconv1_11 = self._depthwise(channels, 1, 11)
        self.dconv11_1 = self._depthwise(channels, 11, 1)
        self.dconv1_21 = self._depthwise(channels, 1, 21)
        self.dconv21_1 = self._depthwise(channels, 21, 1)
        self.conv = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()

    @staticmethod
    def _depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
        padding = (height // 2, width // 2)
        return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = self.ca(x) * x
        base = self.dconv5_5(x)
        x_7 = self.dconv7_1(self.dconv1_7(base))
        x_11 = self.dconv11_1(self.dconv1_11(base))
        x_21 = self.dconv21_1(self.dconv1_21(base))
        return self.conv(self.conv(x_7 + x_11 + x_21 + base) * x)
