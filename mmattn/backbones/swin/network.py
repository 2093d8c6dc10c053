"""Swin Transformer with attention after its window attention.

Paper: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows,
ICCV 2021, arXiv:2103.14030.

mmpretrain's network and key names, with the arguments of mmdet and mmseg besides.
Checkpoints of the three and of microsoft/Swin-Transformer load.

Deviations from the stock classes: maps below a window are padded instead of
refused (mmpretrain), absolute position embeddings follow the image's size
(mmdet, mmseg), and relative position biases of another window size are resized
bicubically, as in mmdet (mmpretrain calls a function that SciPy has removed).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmpretrain.models.backbones.swin_transformer import SwinBlock as StockBlock
from mmpretrain.models.backbones.swin_transformer import SwinTransformer as StockSwin
from mmpretrain.models.utils import ShiftWindowMSA as StockWindowAttention
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.backbones.base import AttentionBackbone, active_toolbox, check_stage_numbers, either
from mmattn.backbones.loading import Shapes
from mmattn.backbones.slots import AttentionBlock, parse_slots
from mmattn.backbones.swin import checkpoints
from mmattn.backbones.swin.options import stage_options, swin_arch
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue

LAYER_NORM, GELU = dict(type='LN'), dict(type='GELU')
# How mmdet and mmseg initialise; mmpretrain leaves it to torch and the model's init_cfg.
DENSE_INIT = [
    dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
]


class ShiftWindowMSA(StockWindowAttention):
    """mmpretrain's (shifted) window attention on maps of any size."""

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        height, width = hw_shape
        if self.pad_small_map or min(hw_shape) >= self.window_size:
            return super().forward(query, hw_shape)
        # One window in the small direction; the stock module does not shift then.
        padded = max(height, self.window_size), max(width, self.window_size)
        query = query.unflatten(1, (height, width))
        query = F.pad(query, (0, 0, 0, padded[1] - width, 0, padded[0] - height))
        out = super().forward(query.flatten(1, 2), padded).unflatten(1, padded)
        return out[:, :height, :width].flatten(1, 2)


class SwinBlock(AttentionBlock, StockBlock):
    """mmpretrain's Swin block with attention between window attention and addition.

    The papers do not say where a convolutional attention belongs in a Swin
    block; this is this project's choice, for SimAM ('before_norm') too. The
    tokens become a map (N, C, H, W) and back.
    """

    positions = ('after_attn',)
    default_positions = dict.fromkeys(('inner', 'before_norm', 'outer'), 'after_attn')
    # Its window attention is called attn already.
    plugin_postfix = '_plugin'

    def slot_channels(self) -> dict[str, int]:
        return {'after_attn': self.attn.w_msa.embed_dims}

    def add_slots(self, *args, **options) -> None:
        super().add_slots(*args, **options)
        self.attn.__class__ = ShiftWindowMSA
        # Attention sees what stochastic depth does not drop.
        self.drop_path, self.attn.drop = self.attn.drop, nn.Identity()

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            out = self.attn(self.norm1(x), hw_shape)  # (N, H W, C)
            if self.slots:
                out = out.transpose(1, 2).unflatten(2, hw_shape)
                out = self.run_slots('after_attn', out).flatten(2).transpose(1, 2)
            x = x + self.drop_path(out)
            return self.ffn(self.norm2(x), identity=x)

        return self.recomputed(inner, x)


@MODELS.register_module()
class SwinTransformer(AttentionBackbone, StockSwin):
    """Swin-T, S, B and L with any attention in any of the stages, for any image size.

    It takes mmpretrain's arguments and mmdet's and mmseg's. Where the toolboxes
    differ, the active ``default_scope`` decides (mmpretrain's without one).

    Args:
        arch: 'tiny', 'small', 'base', 'large' (or their first letter), or a dict
            with ``embed_dims``, ``depths`` and ``num_heads``; default 'tiny'.
        img_size, pretrain_img_size: Common size of the images, for absolute position
            embeddings, under mmpretrain's and mmdet's name; default 224.
        drop_rate: Dropout of the embedding; in mmdet and mmseg of the projections
            and the feed-forward layers as well.
        out_indices: Stages whose outputs are returned; default the last, in mmdet and
            mmseg all.
        frozen_stages: -1 freezes nothing. In mmpretrain 0 freezes the patch
            embedding and the first stage, 1 the second one as well, ...; in mmdet
            and mmseg 0 the patch embedding only, 1 the first stage, ...
        pad_small_map: Shift the windows also on maps of their size and below;
            default False, in mmdet and mmseg True.
        norm_cfg: Config of the outputs' norm layers; in mmdet and mmseg of all.
        stage_cfgs: mmpretrain's further options of all stages or, in a list, of
            each; they win over what the arguments below say.
        patch_cfg: mmpretrain's further options of the patch embedding.
        embed_dims, depths, num_heads: mmdet's way to write ``arch``: channels of
            the first stage, blocks and heads of each stage.
        strides: Strides of the patch embedding, ``patch_size``, and of each patch merging.
        mlp_ratio, qkv_bias, qk_scale, patch_norm, attn_drop_rate, act_cfg: As in mmdet.
        convert_weights: Convert checkpoints of microsoft/Swin-Transformer, which
            are known by their key names; with False they are refused.
        plugins, attention: As in :class:`ResNet`; the only position is 'after_attn'.
        options: mmpretrain's ``in_channels``, ``window_size``, ``drop_path_rate``, ``with_cp``,
            ``out_after_downsample``, ``use_abs_pos_embed``, ``interpolate_mode`` and
            ``norm_eval``; those of :class:`AttentionBackbone`.

    Shape:
        (N, in_channels, H, W), any H, W >= 1 -> a tuple with one
        (N, C_i, H / s_i, W / s_i) per entry of ``out_indices``; s = 4, 8, 16, 32,
        rounded up, and C_i = embed_dims * 2^i.
    """

    def __init__(
        self,
        arch: str | dict | None = None,
        *,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int = 4,
        drop_rate: float = 0.0,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        pad_small_map: bool | None = None,
        norm_cfg: dict | None = LAYER_NORM,
        stage_cfgs: dict | Sequence[dict] | None = None,
        patch_cfg: dict | None = None,
        pretrain_img_size: int | tuple[int, int] | None = None,
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        mlp_ratio: float = 4.0,
        strides: Sequence[int] | None = None,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        attn_drop_rate: float = 0.0,
        act_cfg: dict = GELU,
        convert_weights: bool = True,
        plugins: Sequence[dict] | None = None,
        attention: dict | Sequence[dict] | None = None,
        **options,
    ) -> None:
        dense = active_toolbox() != 'mmpretrain'
        img_size = either('size', img_size=img_size, pretrain_img_size=pretrain_img_size)
        self.default_init = DENSE_INIT if dense else None
        arch = swin_arch(arch, embed_dims=embed_dims, depths=depths, num_heads=num_heads)
        num_stages = len(arch['depths'])
        if out_indices is None:
            out_indices = range(num_stages) if dense else (num_stages - 1,)
        check_stage_numbers('out_indices', out_indices, 0, num_stages - 1)
        # Stages that mmpretrain freezes together with the patch embedding.
        self.frozen_with_stem = 0 if dense else 1
        most_frozen = num_stages - self.frozen_with_stem
        check_stage_numbers('frozen_stages', (frozen_stages,), -1, most_frozen)
        slots = parse_slots(SwinBlock, arch['depths'], attention, plugins, norm_cfg)
        inner_norm = (norm_cfg if dense else None) or LAYER_NORM
        stem_norm = inner_norm if patch_norm else None
        inner_drop = drop_rate if dense else 0.0
        attn_cfgs = dict(qkv_bias=qkv_bias, qk_scale=qk_scale)
        attn_cfgs |= dict(attn_drop=attn_drop_rate, proj_drop=inner_drop)
        block_cfgs = dict(ffn_ratio=mlp_ratio, norm_cfg=inner_norm, attn_cfgs=attn_cfgs)
        block_cfgs |= dict(ffn_cfgs=dict(ffn_drop=inner_drop, act_cfg=act_cfg))
        shared = dict(block_cfgs=block_cfgs, downsample_cfg=dict(norm_cfg=stem_norm))
        super().__init__(
            arch=arch,
            img_size=img_size or 224,
            patch_size=patch_size,
            drop_rate=drop_rate,
            out_indices=tuple(out_indices),
            frozen_stages=frozen_stages,
            pad_small_map=dense if pad_small_map is None else pad_small_map,
            norm_cfg=norm_cfg,
            stage_cfgs=stage_options(shared, stage_cfgs, strides, patch_size, num_stages),
            patch_cfg={'norm_cfg': stem_norm, **(patch_cfg or {})},
            **options,
        )
        self.convert_weights = convert_weights
        for stage, (sequence, heads) in enumerate(zip(self.stages, self.num_heads, strict=True)):
            if sequence.embed_dims % heads:
                raise InvalidValue(
                    f'num_heads={self.num_heads}: {heads} does not divide the '
                    f'{sequence.embed_dims} channels of stage {stage}'
                )
            for index, block in enumerate(sequence.blocks):
                SwinBlock.adopt(block, stage=stage, index=index, **slots)
        self.freeze()

    own_names = staticmethod(checkpoints.own_names)

    @classmethod
    def config_from(cls, shapes: Shapes) -> dict[str, Any] | None:
        return checkpoints.config_from(shapes, cls.arch_zoo)

    def adapt_values(self, weights: dict[str, Tensor], names: Mapping[str, str | None]) -> None:
        for theirs, ours in names.items():
            if ours is None or not checkpoints.is_microsofts(theirs):
                continue
            if not self.convert_weights:
                raise InvalidValue(
                    f'the checkpoint does not fit SwinTransformer with convert_weights=False: '
                    f'{theirs!r} is a name of microsoft/Swin-Transformer'
                )
            if '.downsample.' in ours:
                weights[ours] = checkpoints.unfold_order(weights[ours])
        if self.use_abs_pos_embed:
            self._prepare_abs_pos_embed(weights, '')
        checkpoints.resize_bias_tables(weights, self.state_dict())

    def _prepare_relative_position_bias_table(self, *_) -> None:
        """The stock hook; :meth:`adapt_values` does it, with all names replaced."""

    def frozen_modules(self) -> Iterator[nn.Module]:
        if self.frozen_stages >= 0:
            yield self.patch_embed
            yield self.drop_after_pos
            for stage in range(self.frozen_stages + self.frozen_with_stem):
                yield self.stages[stage]
                if stage in self.out_indices:
                    yield getattr(self, f'norm{stage}')

    def freeze(self) -> None:
        super().freeze()
        if self.use_abs_pos_embed and self.frozen_stages >= 0:
            self.absolute_pos_embed.requires_grad = False
