"""Attention made of convolutions: large kernels, kernels to choose between, whole blocks."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def depthwise(channels: int, size: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """A convolution of every channel by itself that keeps the size of the map."""
    padding = (dilation * (size[0] // 2), dilation * (size[1] // 2))
    return nn.Conv2d(channels, channels, size, padding=padding, dilation=dilation, groups=channels)


class LKA(nn.Module):
    """Large kernel attention, VAN, arXiv:2202.09741."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = depthwise(channels, (5, 5))
        self.conv_spatial = depthwise(channels, (7, 7), 3)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.conv_spatial(self.conv0(x))) * x


class LSKA(nn.Module):
    """Large separable kernel attention, arXiv:2309.01439 (kernel 23)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0h = depthwise(channels, (1, 5))
        self.conv0v = depthwise(channels, (5, 1))
        self.conv_spatial_h = depthwise(channels, (1, 7), 3)
        self.conv_spatial_v = depthwise(channels, (7, 1), 3)
        self.conv1 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        strips = self.conv_spatial_v(self.conv_spatial_h(self.conv0v(self.conv0h(x))))
        return self.conv1(strips) * x


class LSK(nn.Module):
    """Large selective kernel, ICCV 2023, arXiv:2303.09030."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = depthwise(channels, (5, 5))
        self.conv_spatial = depthwise(channels, (7, 7), 3)
        self.conv1 = nn.Conv2d(channels, channels // 2, 1)
        self.conv2 = nn.Conv2d(channels, channels // 2, 1)
        self.conv_squeeze = nn.Conv2d(2, 2, 7, padding=3)
        self.conv = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        near = self.conv0(x)
        far = self.conv2(self.conv_spatial(near))
        near = self.conv1(near)
        features = torch.cat((near, far), dim=1)
        mean = torch.mean(features, dim=1, keepdim=True)
        strongest = torch.max(features, dim=1, keepdim=True)[0]
        masks = self.conv_squeeze(torch.cat((mean, strongest), dim=1)).sigmoid()
        return x * self.conv(near * masks[:, :1] + far * masks[:, 1:])


class PSA(nn.Module):
    """Pyramid squeeze attention, EPSANet, arXiv:2105.14447, in its code's order."""

    def __init__(self, channels: int, conv_groups: tuple[int, ...] = (1, 4, 8, 16)) -> None:
        super().__init__()
        width = channels // 4
        for i, groups in enumerate(conv_groups):
            size = 2 * i + 3
            conv = nn.Conv2d(channels, width, size, padding=i + 1, groups=groups, bias=False)
            setattr(self, f'conv_{i + 1}', conv)
        self.se = nn.Module()
        self.se.fc1 = nn.Linear(width, max(1, width // 16))
        self.se.fc2 = nn.Linear(max(1, width // 16), width)

    def weight(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
        return self.se.fc2(F.relu(self.se.fc1(pooled))).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        features = [conv(x) for conv in (self.conv_1, self.conv_2, self.conv_3, self.conv_4)]
        weights = torch.stack([self.weight(f) for f in features], dim=1).softmax(dim=1)
        scaled = [f * weights[:, i, :, None, None] for i, f in enumerate(features)]
        return torch.cat(scaled[::-1], dim=1)


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class SK(nn.Module):
    """Selective kernel, CVPR 2019, arXiv:1903.06586: 3 x 3, plain and dilated.

    Half of the channels each, as in huggingface/pytorch-image-models.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, int(channels / 16 + 4) // 8 * 8)
        hidden = hidden + 8 if hidden < 0.9 * channels / 16 else hidden
        self.paths = nn.ModuleList(_ConvNorm(channels // 2, channels, i) for i in (1, 2))
        self.attn = nn.Module()
        self.attn.fc_reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.attn.bn = nn.BatchNorm2d(hidden)
        self.attn.fc_select = nn.Conv2d(hidden, 2 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        halves = torch.chunk(x, 2, dim=1)
        features = torch.stack([self.paths[i](halves[i]) for i in (0, 1)], dim=1)
        pooled = features.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        compact = F.relu(self.attn.bn(self.attn.fc_reduce(pooled)))
        shares = self.attn.fc_select(compact).view(x.shape[0], 2, x.shape[1], 1, 1).softmax(dim=1)
        return (features * shares).sum(dim=1)


class ParNet(nn.Module):
    """The RepVGG-SSE block of Non-deep Networks, arXiv:2110.07641."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        identity = self.norm(x)
        gate = self.fc(F.adaptive_avg_pool2d(identity, 1).flatten(1)).sigmoid()
        excited = identity * gate[:, :, None, None]
        return F.silu(self.norm3(self.conv3(x)) + self.norm1(self.conv1(x)) + excited)


class CoT(nn.Module):
    """Contextual transformer, arXiv:2107.12292 (kernel 3), as in its code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, hidden = channels // 2, max(channels // 2, 32)
        self.eighth = channels // 8
        self.key_embed = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=4, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, 9 * self.eighth, 1),
            nn.GroupNorm(self.eighth, 9 * self.eighth),
        )
        self.conv1x1 = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.bn = nn.BatchNorm2d(channels)
        self.se = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, 2 * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        static = self.key_embed(x)
        weights = self.embed(torch.cat((x, static), dim=1)).view(n, 1, self.eighth, 9, h * w)
        # Every place with its neighbours.
        values = F.unfold(self.conv1x1(x), 3, padding=1).view(n, 8, self.eighth, 9, h * w)
        dynamic = F.silu(self.bn((values * weights).sum(dim=3).view(n, c, h, w)))
        pooled = (static + dynamic).mean(dim=(2, 3), keepdim=True)
        shares = self.se(pooled).view(n, c, 2).softmax(dim=2)[:, :, :, None, None]
        return dynamic * shares[:, :, 0] + static * shares[:, :, 1]
