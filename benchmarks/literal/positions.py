"""Attention that weighs positions, or channels, against each other."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GC(nn.Module):
    """Global context, GCNet, arXiv:1904.11492: attention pooling, added (r = 16)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 16
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[:2]
        weights = self.conv_mask(x).flatten(2).softmax(dim=2)  # (N, 1, HW)
        context = torch.matmul(x.flatten(2), weights.transpose(1, 2)).view(n, c, 1, 1)
        return x + self.channel_add_conv(context)


class A2(nn.Module):
    """Double attention, NeurIPS 2018, arXiv:1810.11579, a quarter of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        self.features = nn.Conv2d(channels, quarter, 1)
        self.gather = nn.Conv2d(channels, quarter, 1)
        self.distribute = nn.Conv2d(channels, quarter, 1)
        self.project = nn.Conv2d(quarter, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x).flatten(2)  # (N, m, HW)
        maps = self.gather(x).flatten(2).softmax(dim=2)
        vectors = self.distribute(x).flatten(2).softmax(dim=1)
        descriptors = torch.bmm(features, maps.transpose(1, 2))  # (N, m, n)
        out = torch.bmm(descriptors, vectors).view(x.shape[0], -1, *x.shape[2:])
        return x + self.project(out)


class External(nn.Module):
    """External attention, TPAMI 2022, arXiv:2105.02358, 64 memories."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.linear_0 = nn.Conv2d(channels, 64, 1, bias=False)
        self.linear_1 = nn.Conv2d(64, channels, 1, bias=False)
        self.conv2 = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        places = self.conv1(x).flatten(2)  # (N, C, HW)
        shares = F.conv1d(places, self.linear_0.weight[..., 0]).softmax(dim=2)
        shares = shares / (1e-9 + shares.sum(dim=1, keepdim=True))
        out = F.conv1d(shares, self.linear_1.weight[..., 0]).view_as(x)
        return F.relu(self.conv2(out) + x)


class NonLocal(nn.Module):
    """Non-local block, CVPR 2018, arXiv:1711.07971, with mmcv's scaled logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = channels // 2
        self.theta = nn.Conv2d(channels, self.hidden, 1)
        self.phi = nn.Conv2d(channels, self.hidden, 1)
        self.g = nn.Conv2d(channels, self.hidden, 1)
        self.conv_out = nn.Conv2d(self.hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(x).flatten(2).transpose(1, 2)  # (N, HW, h)
        phi = self.phi(x).flatten(2)
        g = self.g(x).flatten(2).transpose(1, 2)
        weights = (torch.matmul(theta, phi) / self.hidden**0.5).softmax(dim=2)
        y = torch.matmul(weights, g).transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        return x + self.conv_out(y)


class _QueryKeyValue(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, 1)
        self.key_conv = nn.Conv2d(channels, channels // 8, 1)
        self.value_conv = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))


class PAM(_QueryKeyValue):
    """Position attention, DANet, CVPR 2019, arXiv:1809.02983."""

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query_conv(x).flatten(2).transpose(1, 2)  # (N, HW, C / 8)
        attention = torch.bmm(queries, self.key_conv(x).flatten(2)).softmax(dim=2)
        out = torch.bmm(self.value_conv(x).flatten(2), attention.transpose(1, 2))
        return self.gamma * out.view_as(x) + x


class CAM(nn.Module):
    """Channel attention, DANet, arXiv:1809.02983; as in its code of what is unlike."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2)
        energy = torch.bmm(places, places.transpose(1, 2))  # (N, C, C)
        distance = torch.max(energy, dim=2, keepdim=True)[0].expand_as(energy) - energy
        out = torch.bmm(distance.softmax(dim=2), places)
        return self.gamma * out.view_as(x) + x


class DANet(nn.Module):
    """The head of DANet, arXiv:1809.02983, without its dropout."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4

        def layer(channels: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))

        self.conv5a, self.conv5c = layer(channels), layer(channels)
        self.sa, self.sc = PAM(width), CAM(width)
        self.conv51, self.conv52 = layer(width), layer(width)
        self.conv8 = nn.Sequential(nn.Identity(), nn.Conv2d(width, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        positions = self.conv51(self.sa(self.conv5a(x)))
        channels = self.conv52(self.sc(self.conv5c(x)))
        return self.conv8(positions + channels)


class CrissCross(_QueryKeyValue):
    """Criss-cross attention, CCNet, ICCV 2019, arXiv:1811.11721, once."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2:]
        query, key, value = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        column = torch.einsum('ncyx,nczx->nyxz', query, key)  # (N, H, W, H)
        itself = torch.eye(h, dtype=torch.bool, device=x.device).view(1, h, 1, h)
        column = column.masked_fill(itself, float('-inf'))
        row = torch.einsum('ncyx,ncyz->nyxz', query, key)  # (N, H, W, W)
        affinity = torch.cat((column, row), dim=3).softmax(dim=3)
        column, row = affinity[..., :h], affinity[..., h:]
        out = torch.einsum('nyxz,nczx->ncyx', column, value)
        out = out + torch.einsum('nyxz,ncyz->ncyx', row, value)
        return self.gamma * out + x


class _Polarized(nn.Module):
    """The convolutions of both forms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.channel_query = nn.Conv2d(channels, 1, 1, bias=False)
        self.channel_value = nn.Conv2d(channels, half, 1, bias=False)
        self.spatial_query = nn.Conv2d(channels, half, 1, bias=False)
        self.spatial_value = nn.Conv2d(channels, half, 1, bias=False)

    def channel(self, x: Tensor) -> Tensor:
        query = self.channel_query(x).flatten(2).softmax(dim=2)  # (N, 1, HW)
        value = self.channel_value(x).flatten(2)
        pooled = torch.matmul(value, query.transpose(1, 2)).unsqueeze(3)
        return self.channel_up(pooled).sigmoid()

    def places(self, x: Tensor) -> tuple[Tensor, Tensor]:
        query = F.adaptive_avg_pool2d(self.spatial_query(x), 1)
        return query.flatten(2).transpose(1, 2), self.spatial_value(x).flatten(2)


class ParallelPolarized(_Polarized):
    """Polarized self-attention, arXiv:2107.00782, as in its code (PSA_p)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channel_up = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, value = self.places(x)
        spatial = torch.matmul(query, value).softmax(dim=2).sigmoid()
        return x * spatial.view(x.shape[0], 1, *x.shape[2:]) + x * self.channel(x)


class SequentialPolarized(_Polarized):
    """Polarized self-attention, arXiv:2107.00782, as in its code (PSA_s)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        hidden = channels // 8
        self.channel_up = nn.Sequential(
            nn.Conv2d(channels // 2, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.channel(x)
        query, value = self.places(x)
        spatial = torch.matmul(query, value.softmax(dim=2)).sigmoid()
        return x * spatial.view(x.shape[0], 1, *x.shape[2:])
