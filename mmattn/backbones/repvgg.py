"""RepVGG with attention in front of its nonlinearities.

Paper: RepVGG: Making VGG-style ConvNets Great Again, CVPR 2021,
arXiv:2101.03697.

mmpretrain's network and key names.

Deviations from the stock class: the SE layers of D2se stay when the network is
deployed (the stock one drops them), and a network with SyncBN deploys too.
"""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones.repvgg import RepVGG as StockRepVGG
from mmpretrain.models.backbones.repvgg import RepVGGBlock as StockBlock
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.backbones.base import CONV_INIT, AttentionBackbone, check_per_stage, check_stage_numbers
from mmattn.backbones.loading import Shapes, blocks_by_stage
from mmattn.backbones.slots import AttentionBlock, parse_slots
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue, UnknownName, UserError

BATCH_NORM = dict(type='BN')
ARCH_KEYS = ('num_blocks', 'width_factor', 'group_layer_map', 'se_cfg')


class RepVGGBlock(AttentionBlock, StockBlock):
    """mmpretrain's RepVGG block with attention on the sum of its branches.

    Each branch has a norm of its own, so attention that belongs in front of a
    norm (SimAM) comes after them, too.
    """

    positions = ('before_act',)
    default_positions = dict.fromkeys(('inner', 'before_norm', 'outer'), 'before_act')

    def slot_channels(self) -> dict[str, int]:
        return {'before_act': self.out_channels}

    def forward(self, x: Tensor) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            if self.deploy:
                out = self.branch_reparam(x)
            else:
                out = self.branch_3x3(x) + self.branch_1x1(x)
                if self.branch_norm is not None:
                    out = out + self.branch_norm(x)
            if self.se_layer is not None:
                out = self.se_layer(out)
            return self.run_slots('before_act', out)

        return self.act(self.recomputed(inner, x))

    def switch_to_deploy(self) -> None:
        """Fuse the branches into one convolution; attention stays as it is.

        Raises:
            ValueError: If the norm layers are not BatchNorm.
        """
        if self.deploy:
            return
        norm = self.branch_3x3.norm
        if not isinstance(norm, _BatchNorm):
            raise InvalidValue(
                f'only BatchNorm can be fused into a convolution, got norm_cfg={self.norm_cfg!r}'
            )
        # The stock method takes this name only, and SyncBN is fused the same way.
        self.norm_cfg = {**self.norm_cfg, 'type': 'BN'}
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        super().switch_to_deploy()
        for parameter in trainable:
            # It detaches the attention's parameters as well.
            parameter.requires_grad_()


@MODELS.register_module()
class RepVGG(AttentionBackbone, StockRepVGG):
    """RepVGG with any attention in any of its four stages.

    Args:
        arch: 'A0', 'A1', 'A2', 'B0', 'B1', 'B1g2', 'B1g4', 'B2', 'B2g2', 'B2g4',
            'B3', 'B3g2', 'B3g4', 'D2se', 'yolox-pai-small', or a dict with
            ``num_blocks``, ``width_factor``, ``group_layer_map``, ``se_cfg`` and
            optionally ``stem_channels``.
        out_indices, strides, dilations, frozen_stages, norm_cfg, plugins: As in
            :class:`ResNet`.
        deploy: Build the fused network (see ``switch_to_deploy``).
        attention: As in :class:`ResNet`; the only position is 'before_act', and the
            stem has none.
        options: ``in_channels``, ``conv_cfg``, ``act_cfg``, ``norm_eval``, ``with_cp``;
            ``base_channels``, of the first stage at width factor 1; ``add_ppf``, for
            YOLOX-PAI's pooling block after the last stage; those of
            :class:`AttentionBackbone`.

    Shape:
        (N, in_channels, H, W) -> a tuple with one (N, C_i, H / s_i, W / s_i)
        per entry of ``out_indices``; s = 4, 8, 16, 32.
    """

    default_init = CONV_INIT
    stem_names = ('stem',)
    stage_names = ('stage_{}',)

    def __init__(
        self,
        arch: str | dict,
        *,
        out_indices: Sequence[int] = (3,),
        strides: Sequence[int] = (2, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        frozen_stages: int = -1,
        norm_cfg: dict = BATCH_NORM,
        deploy: bool = False,
        plugins: Sequence[dict] | None = None,
        attention: dict | Sequence[dict] | None = None,
        **options,
    ) -> None:
        arch = self._settings(arch)
        num_stages = len(arch['num_blocks'])
        check_stage_numbers('out_indices', out_indices, 0, num_stages - 1)
        check_stage_numbers('frozen_stages', (frozen_stages,), -1, num_stages)
        widths = arch['width_factor']
        check_per_stage(num_stages, strides=strides, dilations=dilations, width_factor=widths)
        slots = parse_slots(RepVGGBlock, arch['num_blocks'], attention, plugins, norm_cfg)
        options |= dict(strides=strides, dilations=dilations, norm_cfg=norm_cfg, deploy=deploy)
        options |= dict(out_indices=tuple(out_indices), frozen_stages=frozen_stages)
        super().__init__(arch, **options)
        RepVGGBlock.adopt(self.stem)
        for stage, name in enumerate(self.stages):
            for index, block in enumerate(getattr(self, name)):
                RepVGGBlock.adopt(block, stage=stage, index=index, **slots)
        self.freeze()

    def _settings(self, arch: str | dict) -> dict:
        if isinstance(arch, str):
            if arch not in self.arch_settings:
                raise UnknownName(
                    f'RepVGG: no arch {arch!r}; valid: {", ".join(self.arch_settings)}'
                )
            return self.arch_settings[arch]
        if not isinstance(arch, dict) or set(arch) - {'stem_channels'} != set(ARCH_KEYS):
            raise InvalidValue(
                f'RepVGG: arch must be a name or a dict with {", ".join(ARCH_KEYS)} '
                f'(and stem_channels), got {arch!r}'
            )
        return arch

    @classmethod
    def config_from(cls, shapes: Shapes) -> dict[str, Any] | None:
        blocks = blocks_by_stage(shapes, r'(stage_(\d)\.(\d+))\.branch_')
        if not blocks:
            return None
        deploy = 'stem.branch_reparam.weight' in shapes
        layer = 'branch_reparam' if deploy else 'branch_3x3.conv'
        counts = [len(stage) for stage in blocks]
        widths = [shapes[f'{stage[-1]}.{layer}.weight'][0] for stage in blocks]
        # The second layer after the stem is the first with groups.
        inner = shapes[f'{blocks[0][1]}.{layer}.weight']
        groups = inner[0] // inner[1]
        for arch, setting in cls.arch_settings.items():
            sizes = [int(64 * 2**i * factor) for i, factor in enumerate(setting['width_factor'])]
            found = list(setting['num_blocks']), sizes, (setting['group_layer_map'] or {}).get(2, 1)
            if found == (counts, widths, groups) and setting.get('se_cfg') is None:
                return dict(type='mmattn.RepVGG', arch=arch, **({'deploy': True} if deploy else {}))
        raise UserError(
            f'a RepVGG of {counts} blocks, {widths} channels and {groups} groups is not in mmattn; '
            f'valid: {", ".join(cls.arch_settings)}'
        )
