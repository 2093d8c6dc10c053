"""Attention from pooled strips and grids: CAA and both modules of SPNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(inputs: int, channels: int, size: tuple[int, int]) -> nn.Sequential:
    padding = (size[0] // 2, size[1] // 2)
    conv = nn.Conv2d(inputs, channels, size, padding=padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def upsample(small: Tensor, x: Tensor) -> Tensor:
    return F.interpolate(small, size=x.shape[2:], mode='bilinear', align_corners=True)


class CAA(nn.Module):
    """Context anchor attention, PKINet, CVPR 2024, arXiv:2403.06258 (strips of 11)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ('conv1', 'conv2'):
            layer = nn.Module()
            layer.conv = nn.Conv2d(channels, channels, 1, bias=False)
            layer.bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)
            setattr(self, name, layer)
        for name, size, padding in (('h_conv', (1, 11), (0, 5)), ('v_conv', (11, 1), (5, 0))):
            layer = nn.Module()
            layer.conv = nn.Conv2d(channels, channels, size, padding=padding, groups=channels)
            setattr(self, name, layer)
        self.pool = nn.AvgPool2d(7, stride=1, padding=3)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv1.bn(self.conv1.conv(self.pool(x))))
        y = self.v_conv.conv(self.h_conv.conv(y))
        return x * self.act(self.conv2.bn(self.conv2.conv(y))).sigmoid()


class StripPooling(nn.Module):
    """Strip pooling, SPNet, CVPR 2020, arXiv:2003.13328."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.conv1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.bn1(self.conv1(self.pool_h(x))).expand_as(x)
        columns = self.bn2(self.conv2(self.pool_w(x))).expand_as(x)
        return x * self.conv3(F.relu(rows + columns)).sigmoid()


class MixedPooling(nn.Module):
    """Mixed pooling, SPNet, CVPR 2020, arXiv:2003.13328: grids of 20 and of 12, strips."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.grid_20, self.grid_12 = nn.AdaptiveAvgPool2d(20), nn.AdaptiveAvgPool2d(12)
        self.pool_h = nn.AdaptiveAvgPool2d((None, 1))
        self.pool_w = nn.AdaptiveAvgPool2d((1, None))
        self.conv1_1 = conv_norm(channels, hidden, (1, 1))
        self.conv1_2 = conv_norm(channels, hidden, (1, 1))
        self.conv2_0 = conv_norm(hidden, hidden, (3, 3))
        self.conv2_1 = conv_norm(hidden, hidden, (3, 3))
        self.conv2_2 = conv_norm(hidden, hidden, (3, 3))
        self.conv2_3 = conv_norm(hidden, hidden, (1, 3))
        self.conv2_4 = conv_norm(hidden, hidden, (3, 1))
        self.conv2_5 = conv_norm(hidden, hidden, (3, 3))
        self.conv2_6 = conv_norm(hidden, hidden, (3, 3))
        self.conv3 = conv_norm(2 * hidden, channels, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, second = F.relu(self.conv1_1(x)), F.relu(self.conv1_2(x))
        whole = self.conv2_0(first)
        coarse = upsample(self.conv2_1(self.grid_20(first)), x)
        coarser = upsample(self.conv2_2(self.grid_12(first)), x)
        columns = upsample(self.conv2_3(self.pool_w(second)), x)
        rows = upsample(self.conv2_4(self.pool_h(second)), x)
        short = F.relu(self.conv2_5(F.relu(whole + coarse + coarser)))
        long = F.relu(self.conv2_6(F.relu(columns + rows)))
        return F.relu(x + self.conv3(torch.cat((short, long), dim=1)))
