"""PAM: position attention of DANet.

Paper: Dual Attention Network for Scene Segmentation, CVPR 2019, arXiv:1809.02983.
Checked against junfu1115/DANet (MIT).

Place: in a segmentation head on stage 4; here where a block has its inner
position, for the last stage.

Deviations: at least one channel of queries and keys (the original needs C >= 8).
With ``warm_start`` gamma starts at 1, not at 0, where two zeros in a product would
never learn.
"""

import torch
from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, hidden_channels
from mmattn.attention.positions import attend_to, like_map, sequence
from mmattn.registry import MODELS

ADVICE = 'Put it where the map is smaller (the last stage, smaller crops), or take CrissCross'


@MODELS.register_module()
class PAM(Attention):
    """Every position attends to every other; the sum is added by a learned share.

    Quadratic in the number of positions: H * W * H * W logits, 0.6 million at 28 x 28
    and 282 million at 100 x 168. torch's fused attention does not write them out, but
    computes them; where it has no kernel, and in exported graphs, they take memory.

    Formula:
        y_i = x_i + gamma * sum over j of softmax_j(q_i . k_j) v_j, from 1x1 convolutions

    Args:
        max_positions: Most positions (H * W) that it takes; a larger map is a ValueError.
            None is any number.
    """

    placement = 'inner'
    any_dims = True

    def __init__(
        self, in_channels: int, max_positions: int | None = 16384, warm_start: bool = False
    ) -> None:
        super().__init__(in_channels, warm_start)
        if max_positions is not None:
            checks.positive(self, 'max_positions', max_positions, ' or None')
        self.max_positions = max_positions
        hidden = hidden_channels(self, 8)
        self.query_conv = nn.Conv2d(in_channels, hidden, 1)
        self.key_conv = nn.Conv2d(in_channels, hidden, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = nn.Parameter(torch.ones(1) if warm_start else torch.zeros(1))

    def attend(self, x: Tensor) -> Tensor:
        checks.pairs(self, x, (x.shape[2] * x.shape[3]) ** 2, ADVICE)
        queries, keys = sequence(self.query_conv(x)), sequence(self.key_conv(x))
        values = attend_to(queries, keys, sequence(self.value_conv(x)))
        return x + self.gamma.to(x.dtype) * like_map(values, x).to(x.dtype)
