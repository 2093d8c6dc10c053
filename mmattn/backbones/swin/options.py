"""mmdet's and mmseg's arguments of a Swin Transformer in mmpretrain's form."""

from collections.abc import Sequence

from mmpretrain.models.backbones.swin_transformer import SwinTransformer as StockSwin

from mmattn.utils.errors import InvalidValue, UnknownName

# Dicts within stage_cfgs that hold options; others, such as norm_cfg, are values.
OPTION_DICTS = ('block_cfgs', 'attn_cfgs', 'ffn_cfgs', 'downsample_cfg')


def swin_arch(arch: str | dict | None, **numbers: int | Sequence[int] | None) -> dict:
    """mmpretrain's ``arch`` as a dict, from it or from mmdet's arguments."""
    given = {name: value for name, value in numbers.items() if value is not None}
    if arch is not None and given:
        raise InvalidValue(f'arch={arch!r} and {", ".join(given)} name the same; give one of them')
    if isinstance(arch, str) and arch.lower() not in StockSwin.arch_zoo:
        raise UnknownName(
            f'SwinTransformer: no arch {arch!r}; valid: {", ".join(StockSwin.arch_zoo)}'
        )
    if not isinstance(arch, dict):
        arch = {**StockSwin.arch_zoo[(arch or 'tiny').lower()], **given}
    if set(arch) != {'embed_dims', 'depths', 'num_heads'}:
        raise InvalidValue(f'arch must have embed_dims, depths and num_heads, got {arch!r}')
    if len(arch['depths']) != len(arch['num_heads']):
        raise InvalidValue(
            f'depths and num_heads must have one entry per stage, '
            f'got {arch["depths"]} and {arch["num_heads"]}'
        )
    return arch


def stage_options(
    options: dict,
    given: dict | Sequence[dict] | None,
    strides: Sequence[int] | None,
    patch_size: int,
    num_stages: int,
) -> list[dict]:
    """mmpretrain's ``stage_cfgs``, one dict per stage.

    Args:
        options: What the other arguments say, the same for all stages.
        given: The user's ``stage_cfgs``, which overrules it.
    """
    given = given or {}
    per_stage = [given] * num_stages if isinstance(given, dict) else given
    if len(per_stage) != num_stages:
        raise InvalidValue(f'stage_cfgs must have {num_stages} entries, got {len(per_stage)}')
    stages = [options] * num_stages
    if strides is not None:
        if len(strides) != num_stages or strides[0] != patch_size:
            raise InvalidValue(
                f'strides must have {num_stages} entries, the first of them '
                f'patch_size={patch_size}, got {tuple(strides)}'
            )
        # A stage's merging leads to the next stage.
        mergings = [dict(downsample_cfg=dict(stride=stride)) for stride in (*strides[1:], None)]
        stages = [_merged(options, merging) for merging in mergings]
    return [_merged(own, theirs) for own, theirs in zip(stages, per_stage, strict=True)]


def _merged(options: dict, overrides: dict | Sequence[dict]) -> dict | list[dict]:
    if not isinstance(overrides, dict):
        # One dict per block.
        return [_merged(options, each) for each in overrides]
    return options | {
        name: _merged(options.get(name, {}), value) if name in OPTION_DICTS else value
        for name, value in overrides.items()
    }
