"""Residual blocks with attention slots: BasicBlock and Bottleneck.

Layers, names and order are those of the stock blocks of mmdet, mmseg and
mmpretrain (which agree), so their checkpoints load and, without attention,
outputs are equal bit for bit.
"""

import math

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.backbones.slots import AttentionBlock
from mmattn.utils.errors import InvalidValue


class ResidualBlock(AttentionBlock, BaseModule):
    """What BasicBlock and Bottleneck share.

    Args:
        expansion: ``out_channels / mid_channels``.
        dilation: Dilation of its (first) 3x3 convolution.
        downsample: Layers of the shortcut; None for the identity.
        style, with_cp, conv_cfg, norm_cfg, dcn, drop_path_rate: As in :class:`ResNet`.
        groups, width_per_group, base_channels: ResNeXt's grouped convolution.
        slots: ``attention``, ``plugins`` and ``stage`` of :meth:`AttentionBlock.add_slots`.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ...).
    """

    expansion: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        stride: int = 1,
        dilation: int = 1,
        downsample: nn.Module | None = None,
        style: str = 'pytorch',
        with_cp: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        dcn: dict | None = None,
        drop_path_rate: float = 0.0,
        groups: int = 1,
        width_per_group: int = 4,
        base_channels: int = 64,
        **slots,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.with_cp = with_cp
        self.norm_cfg = norm_cfg or dict(type='BN')
        self.conv_cfg = conv_cfg
        mid_channels = out_channels // expansion
        if groups > 1:
            mid_channels = math.floor(mid_channels * width_per_group / base_channels) * groups
        self.mid_channels = mid_channels
        self._make_layers(in_channels, stride, dilation, style, groups, dcn)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate > 1e-5 else nn.Identity()
        self.add_slots(self.slot_channels(), **{'norm_cfg': self.norm_cfg, **slots})

    def _make_layers(self, in_channels, stride, dilation, style, groups, dcn) -> None:
        raise NotImplementedError

    def _residual(self, x: Tensor) -> Tensor:
        """The residual branch, up to the addition."""
        raise NotImplementedError

    def add_conv(self, index: int, channels: tuple[int, int], cfg: dict | None, **conv) -> None:
        """Add ``conv<index>`` and its norm, named as the toolboxes name them."""
        self.add_module(f'conv{index}', build_conv_layer(cfg, *channels, bias=False, **conv))
        name, norm = build_norm_layer(self.norm_cfg, channels[1], postfix=index)
        setattr(self, f'norm{index}_name', name)
        self.add_module(name, norm)

    def norm(self, index: int) -> nn.Module:
        return getattr(self, getattr(self, f'norm{index}_name'))

    def norm_after(self, position: str) -> nn.Module | None:
        return self.norm(2) if position == 'before_norm2' else None

    def forward(self, x: Tensor) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            out = self._residual(x)
            identity = x if self.downsample is None else self.downsample(x)
            out = self.drop_path(out)
            out += identity
            return out

        return self.relu(self.recomputed(inner, x))


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions; see :class:`ResidualBlock`."""

    expansion = 1
    positions = ('after_conv1', 'before_norm2', 'after_conv2')
    default_positions = dict.fromkeys(('inner', 'before_norm', 'outer'), 'after_conv2')

    def _make_layers(self, in_channels, stride, dilation, style, groups, dcn) -> None:
        if dcn is not None:
            raise InvalidValue('dcn needs a Bottleneck (depth 50, 101 or 152), not a BasicBlock')
        if self.mid_channels != self.out_channels:
            raise InvalidValue(
                'a BasicBlock (depth 18 or 34) has neither an expansion nor groups; '
                'use depth 50, 101 or 152'
            )
        mid, out = self.mid_channels, self.out_channels
        first = dict(stride=stride, padding=dilation, dilation=dilation)
        self.add_conv(1, (in_channels, mid), self.conv_cfg, kernel_size=3, **first)
        self.add_conv(2, (mid, out), self.conv_cfg, kernel_size=3, padding=1)

    def slot_channels(self) -> dict[str, int]:
        return dict.fromkeys(self.positions, self.out_channels)

    def _residual(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(1)(self.conv1(x)))
        out = self.run_slots('after_conv1', out)
        out = self.run_slots('before_norm2', self.conv2(out))
        return self.run_slots('after_conv2', self.norm(2)(out))


class Bottleneck(ResidualBlock):
    """A 3x3 convolution between two 1x1; see :class:`ResidualBlock`."""

    expansion = 4
    positions = ('after_conv1', 'before_norm2', 'after_conv2', 'after_conv3')
    default_positions = {
        'inner': 'after_conv2',
        'before_norm': 'before_norm2',
        'outer': 'after_conv3',
    }

    def _make_layers(self, in_channels, stride, dilation, style, groups, dcn) -> None:
        if style not in ('pytorch', 'caffe'):
            raise InvalidValue(f"style must be 'pytorch' or 'caffe', got {style!r}")
        first, second = (1, stride) if style == 'pytorch' else (stride, 1)
        mid = self.mid_channels
        self.add_conv(1, (in_channels, mid), self.conv_cfg, kernel_size=1, stride=first)
        conv = dict(stride=second, padding=dilation, dilation=dilation, groups=groups)
        self._make_middle(self._conv2_cfg(dcn), kernel_size=3, **conv)
        self.add_conv(3, (mid, self.out_channels), self.conv_cfg, kernel_size=1)

    def _make_middle(self, cfg: dict | None, **conv: int) -> None:
        self.add_conv(2, (self.mid_channels, self.mid_channels), cfg, **conv)

    def _conv2_cfg(self, dcn: dict | None) -> dict | None:
        """Config of the 3x3 convolution: ``dcn`` unless that asks for the plain one."""
        if dcn is None or dcn.get('fallback_on_stride', False):
            return self.conv_cfg
        if self.conv_cfg is not None:
            raise InvalidValue(f'conv_cfg must be None with dcn, got {self.conv_cfg!r}')
        import mmcv.ops  # noqa: F401  (registers DCN and DCNv2)

        return {key: value for key, value in dcn.items() if key != 'fallback_on_stride'}

    def slot_channels(self) -> dict[str, int]:
        channels = dict.fromkeys(self.positions, self.mid_channels)
        return {**channels, 'after_conv3': self.out_channels}

    def _residual(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm(1)(self.conv1(x)))
        out = self._middle(self.run_slots('after_conv1', out))
        out = self.run_slots('after_conv2', out)
        return self.run_slots('after_conv3', self.norm(3)(self.conv3(out)))

    def _middle(self, x: Tensor) -> Tensor:
        """The 3x3 convolution, (N, mid_channels, H, W) -> (N, mid_channels, ...)."""
        x = self.run_slots('before_norm2', self.conv2(x))
        return self.relu(self.norm(2)(x))
