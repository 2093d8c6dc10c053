"""Swin Transformers' checkpoints: other names, the config that fits, orders and sizes."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mmattn.backbones.loading import Shapes, blocks_by_stage
from mmattn.utils.errors import UserError

# Parts of a block's names in microsoft/Swin-Transformer -> mmpretrain's.
MICROSOFT_PARTS = {
    'layers.': 'stages.',
    '.attn.': '.attn.w_msa.',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
}


def own_names(shapes: Shapes) -> dict[str, str | None]:
    """Another checkpoint's keys -> ours, see :meth:`AttentionBackbone.own_names`.

    mmdet and mmseg load whole models into this backbone.
    """
    names: dict[str, str | None] = {}
    stages = [re.match(r'(?:backbone\.)?(?:stages|layers)\.(\d+)\.', key) for key in shapes]
    last = max((int(match[1]) for match in stages if match), default=0)
    for key in shapes:
        name = key.removeprefix('backbone.')
        if is_microsofts(name):
            for theirs, ours in MICROSOFT_PARTS.items():
                name = name.replace(theirs, ours)
            # It follows from the size of the map.
            name = None if name.endswith('.attn_mask') else name
        else:
            name = re.sub(r'^norm\.', f'norm{last}.', name)
            name = re.sub(r'^patch_embed\.proj\.', 'patch_embed.projection.', name)
        names[key] = name
    return names


def is_microsofts(key: str) -> bool:
    """Whether a key is one of the stages of microsoft/Swin-Transformer."""
    return key.removeprefix('backbone.').startswith('layers.')


def config_from(shapes: Shapes, zoo: Mapping[str, dict]) -> dict[str, Any] | None:
    """The config that fits, see :meth:`AttentionBackbone.config_from`."""
    blocks = blocks_by_stage(shapes, r'(stages\.(\d)\.blocks\.(\d+))\.')
    if not blocks:
        return None
    tables = [shapes[f'{b[0]}.attn.w_msa.relative_position_bias_table'] for b in blocks]
    arch = dict(
        embed_dims=shapes['patch_embed.projection.weight'][0],
        depths=[len(stage) for stage in blocks],
        num_heads=[heads for _, heads in tables],
    )
    name = next((name for name, setting in zoo.items() if setting == arch), None)
    if name is None:
        text = ', '.join(f'{key}={value}' for key, value in arch.items())
        raise UserError(f'a Swin Transformer with {text} is not in mmattn; valid: {", ".join(zoo)}')
    window = (math.isqrt(tables[0][0]) + 1) // 2
    outputs = tuple(n for n in range(len(blocks)) if f'norm{n}.weight' in shapes)
    return dict(
        type='mmattn.SwinTransformer',
        arch=name,
        **({} if window == 7 else dict(window_size=window)),
        **({} if outputs == (len(blocks) - 1,) else dict(out_indices=outputs)),
    )


def unfold_order(value: Tensor) -> Tensor:
    """Reorder a patch merging's inputs as ``nn.Unfold`` orders them.

    Microsoft's goes through the 2 x 2 neighbours column by column, with all
    channels of each; ``nn.Unfold`` through the channels, with the neighbours of
    each row by row.

    Args:
        value: (..., 4 C), a weight of the norm or of the reduction.
    """
    neighbours = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return neighbours.transpose(-1, -2).flatten(-2)


def resize_bias_tables(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Bring relative position biases to the window size of the model, in place.

    Args:
        weights: A checkpoint with our names.
        own: The model's own entries; a table is ((2 M - 1)^2, heads) for windows of
            side M.
    """
    for name, table in own.items():
        if not name.endswith('relative_position_bias_table') or name not in weights:
            continue
        given = weights[name]
        if given.shape[0] == table.shape[0] or given.shape[1:] != table.shape[1:]:
            continue
        old, new = (round(value.shape[0] ** 0.5) for value in (given, table))
        planes = given.T.reshape(1, -1, old, old).float()
        planes = F.interpolate(planes, (new, new), mode='bicubic', align_corners=False)
        weights[name] = planes.flatten(2)[0].T.to(given.dtype).contiguous()
        # The index follows from the window size.
        weights.pop(name.replace('bias_table', 'index'), None)
