"""MobileNetV2 with attention in its inverted residuals.

Paper: MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018,
arXiv:1801.04381.

mmpretrain's network and key names; mmdet's and mmseg's checkpoints load too.

Deviations from the stock classes: a frozen stem keeps its BatchNorm statistics
(theirs go on changing), and a single output is still a tuple in mmseg.
"""

from collections.abc import Sequence

from mmpretrain.models.backbones.mobilenet_v2 import InvertedResidual as StockBlock
from mmpretrain.models.backbones.mobilenet_v2 import MobileNetV2 as StockMobileNetV2
from torch import Tensor, nn

from mmattn.backbones.base import (
    CONV_INIT,
    AttentionBackbone,
    active_toolbox,
    check_per_stage,
    check_stage_numbers,
)
from mmattn.backbones.mobilenet_v2 import checkpoints
from mmattn.backbones.slots import AttentionBlock, parse_slots
from mmattn.registry import MODELS

BATCH_NORM = dict(type='BN')
OUT_INDICES = {'mmpretrain': (7,), 'mmdet': (1, 2, 4, 7), 'mmseg': (1, 2, 4, 6)}


class InvertedResidual(AttentionBlock, StockBlock):
    """mmpretrain's inverted residual (expand, depthwise, project) with attention.

    ``before_depthwise_norm`` is where SimAM's own MobileNetV2 has it.
    """

    positions = ('before_depthwise_norm', 'after_depthwise', 'after_project')
    default_positions = {
        'inner': 'after_depthwise',
        'before_norm': 'before_depthwise_norm',
        'outer': 'after_project',
    }

    def slot_channels(self) -> dict[str, int]:
        project = self.conv[-1]
        channels = dict.fromkeys(self.positions, project.in_channels)
        return {**channels, 'after_project': project.out_channels}

    def norm_after(self, position: str) -> nn.Module | None:
        depthwise = self.conv[-2]
        if position == 'before_depthwise_norm' and depthwise.with_norm:
            return depthwise.norm
        return None

    def forward(self, x: Tensor) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            *expand, depthwise, project = self.conv
            out = x
            for layer in expand:
                out = layer(out)
            if 'before_depthwise_norm' in self.slots:
                out = depthwise(out, activate=False, norm=False)
                out = self.run_slots('before_depthwise_norm', out)
                out = depthwise.norm(out) if depthwise.with_norm else out
                out = depthwise.activate(out) if depthwise.with_activation else out
            else:
                out = depthwise(out)
            out = project(self.run_slots('after_depthwise', out))
            out = self.run_slots('after_project', out)
            return x + out if self.use_res_connect else out

        return self.recomputed(inner, x)


@MODELS.register_module()
class MobileNetV2(AttentionBackbone, StockMobileNetV2):
    """MobileNetV2 with any attention in any of its seven stages.

    Where the toolboxes differ, the active ``default_scope`` decides
    (mmpretrain's without one).

    Args:
        widen_factor: Factor of all channels.
        out_indices: Which outputs are returned: 0 to 6 the stages, 7 the last 1x1
            convolution; default (7,), in mmdet (1, 2, 4, 7), in mmseg
            (1, 2, 4, 6). mmseg's network has the last convolution only if 7 is
            asked for.
        frozen_stages, norm_cfg, strides, dilations, plugins: As in :class:`ResNet`; only a
            stage's first depthwise convolution is dilated.
        attention: As in :class:`ResNet`; positions are 'before_depthwise_norm',
            'after_depthwise' and 'after_project'.
        options: ``conv_cfg``, ``act_cfg``, ``norm_eval``, ``with_cp``, and those of
            :class:`AttentionBackbone`.

    Shape:
        (N, 3, H, W) -> a tuple with one (N, C_i, H / s_i, W / s_i) per entry of
        ``out_indices``; s = 2, 4, 8, 16, 16, 32, 32, 32 and, at
        ``widen_factor=1``, C = 16, 24, 32, 64, 96, 160, 320, 1280.
    """

    levels = (0, 0, 1, 2, 2, 3, 3)
    default_init = CONV_INIT

    def __init__(
        self,
        widen_factor: float = 1.0,
        *,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_cfg: dict | None = BATCH_NORM,
        strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
        dilations: Sequence[int] = (1, 1, 1, 1, 1, 1, 1),
        plugins: Sequence[dict] | None = None,
        attention: dict | Sequence[dict] | None = None,
        **options,
    ) -> None:
        toolbox = active_toolbox()
        out_indices = OUT_INDICES[toolbox] if out_indices is None else tuple(out_indices)
        num_stages = len(self.levels)
        check_stage_numbers('out_indices', out_indices, 0, num_stages)
        check_stage_numbers('frozen_stages', (frozen_stages,), -1, num_stages)
        check_per_stage(num_stages, strides=strides, dilations=dilations)
        counts = [count for _, _, count, _ in StockMobileNetV2.arch_settings]
        slots = parse_slots(InvertedResidual, counts, attention, plugins, norm_cfg)
        self.arch_settings = [
            [*setting[:3], stride]
            for setting, stride in zip(StockMobileNetV2.arch_settings, strides, strict=True)
        ]
        options |= dict(out_indices=out_indices, frozen_stages=frozen_stages, norm_cfg=norm_cfg)
        super().__init__(widen_factor, **options)
        if toolbox == 'mmseg' and num_stages not in out_indices:
            # An unused layer would stop mmseg's distributed training.
            self.layers.remove('conv2')
            del self.conv2
        for stage in range(num_stages):
            blocks = getattr(self, f'layer{stage + 1}')
            if dilations[stage] != 1:
                depthwise = blocks[0].conv[-2].conv
                depthwise.dilation = depthwise.padding = (dilations[stage],) * 2
            for index, block in enumerate(blocks):
                place = dict(stage=stage, index=index, level=self.levels[stage])
                InvertedResidual.adopt(block, **place, **slots)
        self.freeze()

    own_names = staticmethod(checkpoints.own_names)
    config_from = staticmethod(checkpoints.config_from)
