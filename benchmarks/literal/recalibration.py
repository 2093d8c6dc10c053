"""Channel attention from norms, deviations and neighbouring channels; one factor per channel."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ESE(nn.Module):
    """Effective SE, CenterMask, CVPR 2020, arXiv:1911.06667: one layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.hardsigmoid(self.fc(self.pool(x).flatten(1)))
        return x * scale[:, :, None, None].expand_as(x)


class GE(nn.Module):
    """Gather-Excite, NeurIPS 2018, arXiv:1810.12348: the global mean and two layers (r = 16)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Conv2d(channels, int(channels / 16 + 0.5), 1)
        self.mlp.fc2 = nn.Conv2d(int(channels / 16 + 0.5), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gathered = x.mean(dim=(2, 3), keepdim=True)
        excited = self.mlp.fc2(F.relu(self.mlp.fc1(gathered)))
        return x * F.interpolate(excited, size=x.shape[2:], mode='nearest').sigmoid()


class SRM(nn.Module):
    """Style-based recalibration, ICCV 2019, arXiv:1903.10829."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cfc = nn.Parameter(torch.zeros(channels, 2))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2)
        mean = places.mean(dim=2)
        deviation = (places.var(dim=2) + 1e-5).sqrt()
        style = torch.stack((mean, deviation), dim=2)  # (N, C, 2)
        encoded = (style * self.cfc).sum(dim=2)
        return x * self.bn(encoded[:, :, None, None]).sigmoid()


class GCT(nn.Module):
    """Gated channel transformation, CVPR 2020, arXiv:1909.11519 (the l2 norm)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        squares = x.pow(2).sum(dim=(2, 3), keepdim=True)
        embedding = self.alpha * (squares + 1e-5).pow(0.5)
        power = embedding.pow(2).mean(dim=1, keepdim=True)
        normed = self.gamma * embedding / (power + 1e-5).pow(0.5)
        return x * (1 + torch.tanh(normed + self.beta))


class LCT(nn.Module):
    """Linear context transform, AAAI 2020, arXiv:1909.03834."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.w = nn.Parameter(torch.ones(channels))
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        z = x.mean(dim=(2, 3)).view(n, self.groups, c // self.groups)
        centred = z - z.mean(dim=2, keepdim=True)
        variance = centred.pow(2).mean(dim=2, keepdim=True)
        normed = (centred / (variance + 1e-5).sqrt()).view(n, c)
        return x * (self.w * normed + self.b).sigmoid().view(n, c, 1, 1)


class NAM(nn.Module):
    """Normalization-based attention, arXiv:2111.12419: shares of a norm's weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.bn2(x)
        # As in its code the shares have no gradient.
        scale = self.bn2.weight.detach().abs()
        weights = (scale / scale.sum()).view(1, -1, 1, 1)
        return x * (weights * normed).sigmoid()


class MLCA(nn.Module):
    """Mixed local channel attention, EAAI 2023: ECA over a 5 x 5 grid and over its mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs(math.log2(channels) + 1) / 2)
        size = size if size % 2 else size + 1
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.conv_local = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        local = F.adaptive_avg_pool2d(x, 5)
        whole = F.adaptive_avg_pool2d(local, 1)
        # The channels of one cell after those of another, in one row.
        row = local.flatten(2).transpose(1, 2).reshape(n, 1, 25 * c)
        local = self.conv_local(row).view(n, 25, c).transpose(1, 2).reshape(n, c, 5, 5)
        whole = self.conv(whole.view(n, 1, c)).view(n, c, 1, 1)
        gate = 0.5 * whole.sigmoid().expand(n, c, 5, 5) + 0.5 * local.sigmoid()
        return x * F.adaptive_avg_pool2d(gate, x.shape[2:])
