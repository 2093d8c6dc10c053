"""CrissCross: criss-cross attention, CCNet.

Paper: CCNet: Criss-Cross Attention for Semantic Segmentation, ICCV 2019,
arXiv:1811.11721. Checked against speedinghzl/CCNet (MIT).

Place: in a segmentation head on stage 4; here where a block has its inner position,
for the last stage.

Deviations: ``recurrence`` (2 in the paper) is the head's in the code. At least one
channel of queries and keys. With ``warm_start`` gamma starts at 1, not at 0, where
two zeros in a product would never learn.
"""

import torch
from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, hidden_channels, softmax
from mmattn.registry import MODELS

ADVICE = 'Put it where the map is smaller (the last stage, smaller crops)'


@MODELS.register_module()
class CrissCross(Attention):
    """Every position attends to its column and its row; the sum is added by a learned share.

    It takes the memory of H * W * (H + W) logits, in the dtype of the map.

    Formula:
        y_i = x_i + gamma * sum over j in i's column and row of softmax_j(q_i . k_j) v_j
        as often as recurrence says, from 1x1 convolutions

    Args:
        recurrence: How often it is applied, with the same weights; 2 reach every position.
        max_positions: H * W * (H + W) is at most its square; a larger map is a ValueError.
            None is any number.
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        recurrence: int = 1,
        max_positions: int | None = 16384,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.positive(self, 'recurrence', recurrence)
        if max_positions is not None:
            checks.positive(self, 'max_positions', max_positions, ' or None')
        self.recurrence, self.max_positions = recurrence, max_positions
        hidden = hidden_channels(self, 8)
        self.query_conv = nn.Conv2d(in_channels, hidden, 1)
        self.key_conv = nn.Conv2d(in_channels, hidden, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = nn.Parameter(torch.ones(1) if warm_start else torch.zeros(1))

    def attend(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        checks.pairs(self, x, height * width * (height + width), ADVICE)
        for _ in range(self.recurrence):
            x = x + self.gamma.to(x.dtype) * self._crossed(x).to(x.dtype)
        return x

    def _crossed(self, x: Tensor) -> Tensor:
        queries, keys, values = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        # As batches of columns (N, W, H, .) and of rows (N, H, W, .).
        columns = [t.permute(0, 3, 2, 1) for t in (queries, keys, values)]
        rows = [t.permute(0, 2, 3, 1) for t in (queries, keys, values)]
        up, along = [batch[0] @ batch[1].transpose(2, 3) for batch in (columns, rows)]
        # A position is in its row already.
        places = torch.arange(x.shape[2], device=x.device)
        up = up.masked_fill(places[:, None] == places, float('-inf'))
        shares = softmax(torch.cat((up.transpose(1, 2), along), 3), 3)  # (N, H, W, H + W)
        up, along = shares.split(x.shape[2:], 3)
        out = (up.transpose(1, 2) @ columns[2]).transpose(1, 2) + along @ rows[2]
        return out.permute(0, 3, 1, 2)
