"""ResNet, ResNetV1c, ResNetV1d and ResNeXt with attention in their blocks.

Papers: Deep Residual Learning for Image Recognition (arXiv:1512.03385), Bag of
Tricks for Image Classification (arXiv:1812.01187), Aggregated Residual
Transformations (arXiv:1611.05431).

One class for three toolboxes: it takes what the stock ResNets of mmdet, mmseg
and mmpretrain take, saves mmdet's and mmseg's key names, and loads
mmpretrain's and torchvision's too.
"""

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import constant_init
from torch import Tensor, nn

from mmattn.backbones.base import (
    CONV_INIT,
    AttentionBackbone,
    active_toolbox,
    check_per_stage,
    check_stage_numbers,
)
from mmattn.backbones.loading import Shapes
from mmattn.backbones.resnet import checkpoints
from mmattn.backbones.resnet.blocks import BasicBlock, Bottleneck, ResidualBlock
from mmattn.backbones.slots import parse_slots
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue, UnknownName


@MODELS.register_module()
class ResNet(AttentionBackbone):
    """ResNet-18 to 152 with any attention in any stage.

    Where the toolboxes' defaults differ, None takes that of the active
    ``default_scope`` (mmpretrain's without one).

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: Channels of the image.
        stem_channels: Channels of the stem; default 64, in mmdet ``base_channels``.
        base_channels: Middle channels of the first stage.
        expansion: Output over middle channels of a block; default 1 in a BasicBlock, 4 in
            a Bottleneck.
        num_stages: 1 to 4.
        strides, dilations: Of each stage.
        out_indices: Stages whose outputs are returned; default (3,), in mmdet and mmseg
            (0, 1, 2, 3).
        style: 'pytorch' puts a Bottleneck's stride on its 3x3 convolution, 'caffe' on its
            first 1x1.
        deep_stem: Three 3x3 convolutions in place of the 7x7.
        avg_down: Average pooling before the shortcut's convolution.
        frozen_stages: The stem (0) and the stages up to it are frozen; -1 freezes nothing.
            Attention keeps training.
        conv_cfg, norm_cfg: Configs of the convolutions and of the norm layers.
        norm_eval: Keep stock BatchNorm layers in eval mode; default False, in mmdet True.
        dcn, stage_with_dcn: Config of deformable convolutions in Bottlenecks, and which
            stages have them.
        plugins: mmdet's plugins: dicts with ``cfg``, ``position``, ``stages``, and ``blocks``
            as in ``attention``.
        multi_grid: Dilation of each block of the last stage.
        contract_dilation: Halve the dilation of each stage's first block.
        with_cp: Recompute blocks in the backward pass to save memory.
        zero_init_residual: Start each residual branch at zero; not with pretrained weights.
        drop_path_rate: Stochastic depth, growing linearly to this rate.
        attention: None, a dict or a list of dicts: ``type`` (a registered attention), its
            arguments, and optionally ``position`` ('after_conv1', 'before_norm2',
            'after_conv2', 'after_conv3'; default: the paper's), ``stages`` (a bool each) and
            ``blocks`` (in each stage 'first', 'last', 'every 2nd', a number from 0, or from
            -1 backwards, or a list of them; or a list of such choices, one per stage).
        options: ``init_cfg`` and the arguments of :class:`AttentionBackbone`.

    Shape:
        (N, in_channels, H, W) -> a tuple with one (N, C_i, H / s_i, W / s_i) per entry of
        ``out_indices``; s = 4, 8, 16, 32.
    """

    arch_settings: dict[int, tuple[type[ResidualBlock], tuple[int, ...]]] = {
        18: (BasicBlock, (2, 2, 2, 2)),
        34: (BasicBlock, (3, 4, 6, 3)),
        50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)),
        152: (Bottleneck, (3, 8, 36, 3)),
    }
    default_init = CONV_INIT
    # Set by ResNeXt before the blocks are built.
    groups = 1
    width_per_group = 4

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        stem_channels: int | None = None,
        base_channels: int = 64,
        expansion: int | None = None,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] | None = None,
        style: str = 'pytorch',
        deep_stem: bool = False,
        avg_down: bool = False,
        frozen_stages: int = -1,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        norm_eval: bool | None = None,
        dcn: dict | None = None,
        stage_with_dcn: Sequence[bool] = (False, False, False, False),
        plugins: Sequence[dict] | None = None,
        multi_grid: Sequence[int] | None = None,
        contract_dilation: bool = False,
        with_cp: bool = False,
        zero_init_residual: bool = True,
        drop_path_rate: float = 0.0,
        attention: dict | Sequence[dict] | None = None,
        **options,
    ) -> None:
        if depth not in self.arch_settings:
            raise UnknownName(
                f'{type(self).__name__}: no depth {depth!r}; valid: {list(self.arch_settings)}'
            )
        super().__init__(**options)
        toolbox = active_toolbox()
        if out_indices is None:
            out_indices = (3,) if toolbox == 'mmpretrain' else tuple(range(4))
        if stem_channels is None:
            stem_channels = base_channels if toolbox == 'mmdet' else 64
        self.depth = depth
        self.num_stages = num_stages
        self.strides, self.dilations, self.out_indices = strides, dilations, tuple(out_indices)
        self.frozen_stages = frozen_stages
        self._check_stages(stage_with_dcn if dcn is not None else None)
        self.deep_stem, self.avg_down = deep_stem, avg_down
        self.norm_eval = toolbox == 'mmdet' if norm_eval is None else norm_eval
        self.zero_init_residual = zero_init_residual
        self.conv_cfg = conv_cfg
        self.norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self.stem_names = ('stem',) if deep_stem else ('conv1', 'norm1')

        block, stage_blocks = self.arch_settings[depth]
        self.stage_blocks = stage_blocks[:num_stages]
        expansion = block.expansion if expansion is None else expansion
        if multi_grid is not None and len(multi_grid) != self.stage_blocks[-1]:
            raise InvalidValue(
                f'multi_grid must have {self.stage_blocks[-1]} entries, one per block of the last '
                f'stage, got {tuple(multi_grid)}'
            )
        shared = dict(
            expansion=expansion,
            style=style,
            with_cp=with_cp,
            conv_cfg=conv_cfg,
            base_channels=base_channels,
            **parse_slots(block, self.stage_blocks, attention, plugins, self.norm_cfg),
        )
        self._make_stem(in_channels, stem_channels)
        last = sum(stage_blocks) - 1
        drop_rates = [drop_path_rate * index / last for index in range(last + 1)]
        channels = stem_channels
        self.res_layers = []
        for stage, num_blocks in enumerate(self.stage_blocks):
            dilation = dilations[stage]
            # The first block of a stage may have another dilation than the rest.
            block_dilations = [dilation] * num_blocks
            if multi_grid is not None and stage == num_stages - 1:
                block_dilations = list(multi_grid)
            elif contract_dilation and dilation > 1:
                block_dilations[0] = dilation // 2
            out_channels = base_channels * expansion * 2**stage
            has_dcn = dcn is not None and stage_with_dcn[stage]
            shared.update(stage=stage, dcn=dcn if has_dcn else None)
            blocks = []
            for index, dilation in enumerate(block_dilations):
                own = dict(index=index, dilation=dilation, drop_path_rate=drop_rates.pop(0))
                if index == 0:
                    shortcut = self._make_downsample(channels, out_channels, strides[stage])
                    own.update(stride=strides[stage], downsample=shortcut)
                own.update(self._block_options(index))
                blocks.append(block(channels, out_channels, **own, **shared))
                channels = out_channels
            name = f'layer{stage + 1}'
            self.add_module(name, nn.Sequential(*blocks))
            self.res_layers.append(name)
        self.feat_dim = channels
        self.freeze()

    def _block_options(self, index: int) -> dict:
        """What a subclass tells the block number ``index`` of each stage besides."""
        return dict(groups=self.groups, width_per_group=self.width_per_group)

    def _check_stages(self, stage_with_dcn: Sequence[bool] | None) -> None:
        most = len(self.arch_settings[self.depth][1])
        if not 1 <= self.num_stages <= most:
            raise InvalidValue(f'num_stages must be 1 to {most}, got {self.num_stages}')
        options = dict(strides=self.strides, dilations=self.dilations)
        check_per_stage(self.num_stages, **options, stage_with_dcn=stage_with_dcn)
        check_stage_numbers('out_indices', self.out_indices, 0, self.num_stages - 1)
        check_stage_numbers('frozen_stages', [self.frozen_stages], -1, self.num_stages)

    def _make_stem(self, in_channels: int, stem_channels: int) -> None:
        if self.deep_stem:
            layers = []
            before, half = in_channels, stem_channels // 2
            for after, stride in ((half, 2), (half, 1), (stem_channels, 1)):
                layers += [
                    self._conv(before, after, 3, stride=stride, padding=1),
                    build_norm_layer(self.norm_cfg, after)[1],
                    nn.ReLU(inplace=True),
                ]
                before = after
            self.stem = nn.Sequential(*layers)
        else:
            self._add_conv1(in_channels, stem_channels, 7, stride=2, padding=3)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def _add_conv1(self, in_channels: int, stem_channels: int, *conv: int, **options: int) -> None:
        self.conv1 = self._conv(in_channels, stem_channels, *conv, **options)
        self.norm1_name, norm = build_norm_layer(self.norm_cfg, stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)

    def _conv(self, before: int, after: int, kernel_size: int, **conv: int) -> nn.Module:
        return build_conv_layer(self.conv_cfg, before, after, kernel_size, bias=False, **conv)

    def _make_downsample(self, before: int, after: int, stride: int) -> nn.Module | None:
        if stride == 1 and before == after:
            return None
        layers = []
        if self.avg_down:
            # With stride 1 too, where it does nothing, as in mmdet and mmseg:
            # their keys count it.
            layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
            stride = 1
        layers.append(self._conv(before, after, 1, stride=stride))
        return nn.Sequential(*layers, build_norm_layer(self.norm_cfg, after)[1])

    own_names = staticmethod(checkpoints.own_names)

    @classmethod
    def config_from(cls, shapes: Shapes) -> dict[str, Any] | None:
        return checkpoints.config_from(shapes, cls.arch_settings)

    @property
    def norm1(self) -> nn.Module:
        return getattr(self, self.norm1_name)

    def init_weights(self) -> None:
        """Initialise; residual branches start at zero unless weights are loaded."""
        super().init_weights()
        pretrained = isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'
        if self.zero_init_residual and not pretrained:
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    constant_init(module.norm(3 if isinstance(module, Bottleneck) else 2), 0)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(x) if self.deep_stem else self.relu(self.norm1(self.conv1(x)))
        x = self.maxpool(x)
        outs = []
        for stage, name in enumerate(self.res_layers):
            x = getattr(self, name)(x)
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)
