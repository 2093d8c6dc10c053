"""Res2Net and SE-Res2Net with attention in their blocks.

Papers: Res2Net: A New Multi-scale Backbone Architecture, TPAMI 2021,
arXiv:1904.01169; for SE after the fusion, the SE-Res2Net report (its CIFAR-10
nets are in ``mmattn.backbones.cifar``). Checked against gasvn/Res2Net and
against the stock classes of mmdet and mmpretrain, whose checkpoints load.

The stock classes differ in one place, which ``pool_unstrided`` chooses. Where
they accept an argument and ignore it (mmdet: ``style``, ``deep_stem``,
``avg_down``, ``zero_init_residual``; mmpretrain: ``drop_path_rate``), it acts
here.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import Tensor, nn

from mmattn.backbones.base import active_toolbox
from mmattn.backbones.folding import fold_norm, fold_sequence
from mmattn.backbones.loading import Shapes
from mmattn.backbones.resnet import Bottleneck, ResNet
from mmattn.backbones.resnet.checkpoints import depth_from, image_channels, stem_options
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue, UserError


class Bottle2neck(Bottleneck):
    """A hierarchy of narrow 3x3 convolutions between two 1x1.

    The first 1x1 convolution's output is split into ``scales`` subsets. All but
    the last are convolved, each after the previous one's result was added; in
    the first block of a stage nothing is added, and the last subset, which has
    no convolution, is average-pooled to the others' size. The subsets are
    concatenated and fused by the second 1x1 convolution.

    Args:
        scales: Number of subsets s, at least 2.
        base_width: Channels w of a subset in the first stage, where a stage's
            middle channels are ``base_channels``.
        first: Whether the block is the first of its stage.
        pool_unstrided: Whether a first block pools with stride 1 too.
        options: Any other argument of :class:`ResidualBlock`.

    Raises:
        ValueError: If ``scales`` or ``base_width`` leaves nothing to convolve.
    """

    # Each 3x3 convolution has its own norm: nothing lies before "the" norm.
    positions = ('after_conv1', 'after_conv2', 'after_conv3')
    default_positions = {**Bottleneck.default_positions, 'before_norm': 'after_conv2'}

    def __init__(
        self,
        *args,
        scales: int = 4,
        base_width: int = 26,
        base_channels: int = 64,
        first: bool = False,
        pool_unstrided: bool = True,
        **options,
    ) -> None:
        if not isinstance(scales, int) or scales < 2:
            raise InvalidValue(f'scales must be an integer of at least 2, got {scales!r}')
        self.scales = scales
        self.width_ratio = base_width / base_channels
        self.first = first
        self.pool_unstrided = pool_unstrided
        super().__init__(*args, base_channels=base_channels, **options)

    def _make_layers(self, *args, **options) -> None:
        self.width = int(self.mid_channels * self.width_ratio)
        if self.width < 1:
            raise InvalidValue(
                f'base_width is too small: {self.mid_channels} middle channels times '
                f'{self.width_ratio:g} leave a subset without channels'
            )
        self.mid_channels = self.width * self.scales
        super()._make_layers(*args, **options)

    def _make_middle(self, cfg: dict | None, stride: int, **conv: int) -> None:
        self.stride = stride
        # Named as in the original and the toolboxes, GroupNorm or not.
        self.convs, self.bns = nn.ModuleList(), nn.ModuleList()
        channels = self.width, self.width
        for _ in range(self.scales - 1):
            self.convs.append(build_conv_layer(cfg, *channels, stride=stride, bias=False, **conv))
            self.bns.append(build_norm_layer(self.norm_cfg, self.width)[1])
        self.pool = nn.AvgPool2d(3, stride=stride, padding=1) if self._pools() else None

    def _pools(self) -> bool:
        """Whether the subset without a convolution is pooled."""
        return self.first and (self.pool_unstrided or self.stride > 1)

    def _convolve(self, index: int, x: Tensor) -> Tensor:
        return self.relu(self.bns[index](self.convs[index](x)))

    def _hierarchy(self, subsets: Sequence[Tensor]) -> list[Tensor]:
        """Results of all subsets, each (N, width, H, W), in the order of fusion."""
        outs = []
        for index, x in enumerate(subsets[:-1]):
            if outs and not self.first:
                x = x + outs[-1]
            outs.append(self._convolve(index, x))
        return [*outs, subsets[-1] if self.pool is None else self.pool(subsets[-1])]

    def _middle(self, x: Tensor) -> Tensor:
        return torch.cat(self._hierarchy(x.split(self.width, 1)), 1)

    def fold_norms(self) -> None:
        """Fold each norm into its convolution; attention stays as it is."""
        fold_norm(self, 'conv1', self.norm1_name)
        for index in range(len(self.convs)):
            fold_norm(self, f'convs.{index}', f'bns.{index}')
        fold_norm(self, 'conv3', self.norm3_name)
        if self.downsample is not None:
            fold_sequence(self.downsample)


@MODELS.register_module()
class Res2Net(ResNet):
    """Res2Net-50 to 152 with any attention in any stage.

    The paper's variants are (base_width, scales) = (26, 4), (14, 8), (26, 6),
    (26, 8), (48, 2). v1b, the default as in the toolboxes, has
    ``deep_stem=True, avg_down=True``; the paper's has both False.

    Args:
        depth: 50, 101 or 152.
        scales: Subsets s of a block's middle channels.
        base_width: Channels w of a subset in the first stage.
        deep_stem, avg_down: As in :class:`ResNet`.
        pool_unstrided: Whether the first block of a stage with stride 1 pools
            its last subset, which changes no size. The original and mmpretrain
            do; mmdet does not. Default: as the active toolbox does. State it
            where weights trained in one are used in the other.
        deploy: Build the network without norms (see :meth:`switch_to_deploy`),
            for the weights of one that was switched.
        options: Any other argument of :class:`ResNet`. Positions of attention
            are 'after_conv1', 'after_conv2' (on the concatenated subsets) and
            'after_conv3' (after the fusion).

    Shape:
        As in :class:`ResNet`; C = 256, 512, 1024, 2048.
    """

    arch_settings = {
        depth: (Bottle2neck, blocks)
        for depth, (_, blocks) in ResNet.arch_settings.items()
        if depth >= 50
    }

    def __init__(
        self,
        depth: int,
        scales: int = 4,
        base_width: int = 26,
        deep_stem: bool = True,
        avg_down: bool = True,
        pool_unstrided: bool | None = None,
        deploy: bool = False,
        **options,
    ) -> None:
        self.scales, self.base_width = scales, base_width
        if pool_unstrided is None:
            pool_unstrided = active_toolbox() != 'mmdet'
        self.pool_unstrided = pool_unstrided
        super().__init__(depth, deep_stem=deep_stem, avg_down=avg_down, **options)
        if deploy:
            self.switch_to_deploy()

    def switch_to_deploy(self) -> None:
        """Fold each norm into its convolution: faster, same outputs; attention stays.

        Raises:
            ValueError: If the norm layers are not BatchNorm.
        """
        if self.deep_stem:
            fold_sequence(self.stem)
        else:
            fold_norm(self, 'conv1', self.norm1_name)
        for name in self.res_layers:
            for block in getattr(self, name):
                block.fold_norms()

    @classmethod
    def config_from(cls, shapes: Shapes) -> dict[str, Any] | None:
        first = 'layer1.0'
        if f'{first}.convs.0.weight' not in shapes:
            return None
        width, inputs = shapes[f'{first}.convs.0.weight'][:2]
        if inputs != width:
            raise UserError(
                f'a Res2NeXt ({width // inputs} groups in its 3x3 convolutions) is not in mmattn; '
                f'valid: Res2Net without groups'
            )
        convs = [name for name in shapes if re.fullmatch(rf'{first}\.convs\.\d+\.weight', name)]
        stem = stem_options(shapes)
        return dict(
            type='mmattn.Res2Net',
            depth=depth_from('Res2Net', shapes, cls.arch_settings, bottleneck=True),
            scales=len(convs) + 1,
            base_width=width * 256 // shapes[f'{first}.conv3.weight'][0],
            pool_unstrided=active_toolbox() != 'mmdet',
            **({} if all(stem.values()) else stem),
            **image_channels(shapes),
        )

    def _block_options(self, index: int) -> dict:
        options = dict(scales=self.scales, base_width=self.base_width)
        return dict(**options, first=index == 0, pool_unstrided=self.pool_unstrided)


@MODELS.register_module()
class SERes2Net(Res2Net):
    """Res2Net with squeeze and excitation (r = 16) after each block's fusion.

    Args:
        depth: 50, 101 or 152.
        deploy: As in :class:`Res2Net`.
        options: Those of :class:`Res2Net`; ``attention=None`` gives the plain network.
    """

    default_attention = dict(type='SE')

    def __init__(self, depth: int, deploy: bool = False, **options) -> None:
        super().__init__(depth, deploy=deploy, **{'attention': self.default_attention, **options})
