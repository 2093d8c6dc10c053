"""DenseNet-BC for CIFAR, with attention in its layers.

Paper: Densely Connected Convolutional Networks, CVPR 2017, arXiv:1608.06993.

DenseNet-BC-100 with k = 12 has 0.77 M parameters and about 290 M
multiply-adds, as in the paper's table 2 (0.8 M); the SE-Res2Net report gives
0.80 M and 150 M for it, which no standard network has. No dropout: the paper
trains without it where images are augmented.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.backbones.base import CONV_INIT, AttentionBackbone, check_stage_numbers
from mmattn.backbones.slots import AttentionBlock, parse_slots
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue

NUM_STAGES = 3
# Channels of a layer's 1x1 convolution, in multiples of the growth rate ("B").
BOTTLENECK = 4


class DenseLayer(AttentionBlock, BaseModule):
    """norm-ReLU-1x1, norm-ReLU-3x3; the result is appended to the input.

    Args:
        growth_rate: Channels k that are appended.
        with_cp, conv_cfg, norm_cfg: As in :class:`ResNet`.
        slots: ``attention``, ``plugins`` and ``stage`` of :meth:`AttentionBlock.add_slots`.

    Shape:
        (N, in_channels, H, W) -> (N, in_channels + growth_rate, H, W).
    """

    positions = ('before_norm2', 'after_conv1', 'after_conv2')
    # The layer's own features, before they are appended.
    default_positions = dict(inner='after_conv2', before_norm='before_norm2', outer='after_conv2')

    def __init__(
        self,
        in_channels: int,
        growth_rate: int,
        with_cp: bool,
        conv_cfg: dict | None,
        norm_cfg: dict,
        **slots,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        mid = BOTTLENECK * growth_rate
        self.norm1_name, norm1 = build_norm_layer(norm_cfg, in_channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.conv1 = build_conv_layer(conv_cfg, in_channels, mid, 1, bias=False)
        self.norm2_name, norm2 = build_norm_layer(norm_cfg, mid, postfix=2)
        self.add_module(self.norm2_name, norm2)
        self.conv2 = build_conv_layer(conv_cfg, mid, growth_rate, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.mid_channels, self.growth_rate = mid, growth_rate
        self.add_slots(self.slot_channels(), norm_cfg=norm_cfg, **slots)

    def slot_channels(self) -> dict[str, int]:
        channels = dict.fromkeys(self.positions, self.mid_channels)
        return {**channels, 'after_conv2': self.growth_rate}

    def norm_after(self, position: str) -> nn.Module | None:
        return getattr(self, self.norm2_name) if position == 'before_norm2' else None

    def _grow(self, x: Tensor) -> Tensor:
        """The features that are appended, (N, growth_rate, H, W)."""
        out = self.conv1(self.relu(getattr(self, self.norm1_name)(x)))
        out = self.run_slots('before_norm2', out)
        out = self.relu(getattr(self, self.norm2_name)(out))
        out = self.run_slots('after_conv1', out)
        return self.run_slots('after_conv2', self.conv2(out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.recomputed(self._grow, x)), 1)


@MODELS.register_module()
class DenseNetCIFAR(AttentionBackbone):
    """DenseNet-BC for 32 x 32 images with any attention in any stage.

    Args:
        depth: 6n + 4 for n layers in each of the three dense blocks.
        growth_rate: Channels k that each layer appends.
        compression: Share of the channels that a transition keeps.
        in_channels: Channels of the image.
        out_indices: Dense blocks whose outputs are returned, after the norm and
            ReLU that their transition begins with; the last transition is no more
            than those.
        frozen_stages: As in :class:`ResNet`; a stage's transition is frozen with it.
        conv_cfg, norm_cfg, norm_eval, with_cp, plugins: As in :class:`ResNet`.
        attention: As in :class:`ResNet`. Positions are 'before_norm2' and
            'after_conv1' (both on 4k channels, the latter after norm and ReLU)
            and 'after_conv2' (on the k channels to be appended).
        options: ``init_cfg`` and the arguments of :class:`AttentionBackbone`.

    Shape:
        (N, in_channels, H, W) -> a tuple of (N, C_i, H / 2**i, W / 2**i), one
        per entry i of ``out_indices``; C = 216, 300, 342 for depth 100, k = 12.
    """

    default_init = CONV_INIT
    stage_names = ('layer{}', 'transition{}')

    def __init__(
        self,
        depth: int = 100,
        growth_rate: int = 12,
        compression: float = 0.5,
        in_channels: int = 3,
        out_indices: Sequence[int] = (2,),
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        plugins: Sequence[dict] | None = None,
        attention: dict | Sequence[dict] | None = None,
        **options,
    ) -> None:
        super().__init__(**options)
        self._check(depth, growth_rate, compression)
        check_stage_numbers('out_indices', out_indices, 0, NUM_STAGES - 1)
        check_stage_numbers('frozen_stages', [frozen_stages], -1, NUM_STAGES)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        shared = dict(growth_rate=growth_rate, with_cp=with_cp, conv_cfg=conv_cfg)
        num_layers = (depth - 4) // 6
        counts = (num_layers,) * NUM_STAGES
        shared |= parse_slots(DenseLayer, counts, attention, plugins, norm_cfg)
        channels = 2 * growth_rate
        self.conv1 = build_conv_layer(conv_cfg, in_channels, channels, 3, padding=1, bias=False)
        for stage in range(NUM_STAGES):
            layers = []
            for index in range(num_layers):
                layers.append(DenseLayer(channels, stage=stage, index=index, **shared))
                channels += growth_rate
            self.add_module(f'layer{stage + 1}', nn.Sequential(*layers))
            # Inside of a module, so that mmcv's fuse_conv_bn does not take the stem for
            # the convolution before the norm.
            transition = nn.Sequential()
            transition.add_module('norm', build_norm_layer(norm_cfg, channels)[1])
            if stage < NUM_STAGES - 1:
                kept = int(channels * compression)
                conv = build_conv_layer(conv_cfg, channels, kept, 1, bias=False)
                transition.add_module('conv', conv)
                channels = kept
            self.add_module(f'transition{stage + 1}', transition)
        self.feat_dim = channels
        self.relu = nn.ReLU(inplace=True)
        self.freeze()

    def _check(self, depth: int, growth_rate: int, compression: float) -> None:
        if not isinstance(depth, int) or depth < 10 or (depth - 4) % 6:
            raise InvalidValue(
                f'depth must be 6n + 4 with n of at least 1, such as 40 or 100, got {depth!r}'
            )
        if not isinstance(growth_rate, int) or growth_rate < 1:
            raise InvalidValue(f'growth_rate must be a positive integer, got {growth_rate!r}')
        if not 0 < compression <= 1:
            raise InvalidValue(f'compression must be above 0 and at most 1, got {compression!r}')

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.conv1(x)
        outs = []
        for stage in range(NUM_STAGES):
            x = getattr(self, f'layer{stage + 1}')(x)
            transition = getattr(self, f'transition{stage + 1}')
            x = self.relu(transition.norm(x))
            if stage in self.out_indices:
                outs.append(x)
            if stage < NUM_STAGES - 1:
                x = F.avg_pool2d(transition.conv(x), 2)
        return tuple(outs)
