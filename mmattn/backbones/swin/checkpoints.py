"""Checkpoints of other Swin Transformers: names, orders and sizes."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

# Parts of a block's names in microsoft/Swin-Transformer -> mmpretrain's.
MICROSOFT_PARTS = {
    '.attn.': '.attn.w_msa.',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
}


def convert_microsoft(state_dict: dict, prefix: str) -> None:
    """Turn the stages of microsoft/Swin-Transformer into mmpretrain's, in place.

    Args:
        state_dict: A checkpoint; without such entries it stays as it is.
        prefix: What the backbone's keys begin with in it.
    """
    for key in [key for key in state_dict if key.startswith(prefix + 'layers.')]:
        name = key[len(prefix + 'layers.') :]
        value = state_dict.pop(key)
        if name.endswith('.attn_mask'):
            # It follows from the size of the map.
            continue
        if '.downsample.' in name:
            value = unfold_order(value)
        for theirs, ours in MICROSOFT_PARTS.items():
            name = name.replace(theirs, ours)
        state_dict[f'{prefix}stages.{name}'] = value


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


def resize_bias_tables(state_dict: dict, prefix: str, own: Mapping[str, Tensor]) -> None:
    """Bring relative position biases to the window size of the model, in place.

    Args:
        state_dict: A checkpoint with mmpretrain's names.
        prefix: What the backbone's keys begin with in it.
        own: The model's own entries; a table is ((2 M - 1)^2, heads) for windows of
            side M.
    """
    for name, table in own.items():
        key = prefix + name
        if not name.endswith('relative_position_bias_table') or key not in state_dict:
            continue
        given = state_dict[key]
        if given.shape[0] == table.shape[0] or given.shape[1:] != table.shape[1:]:
            continue
        old, new = (round(value.shape[0] ** 0.5) for value in (given, table))
        planes = given.T.reshape(1, -1, old, old).float()
        planes = F.interpolate(planes, (new, new), mode='bicubic', align_corners=False)
        state_dict[key] = planes.flatten(2)[0].T.to(given.dtype).contiguous()
        # The index follows from the window size.
        state_dict.pop(key.replace('bias_table', 'index'), None)
