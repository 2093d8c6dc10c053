"""SA: shuffle attention.

Paper: SA-Net: Shuffle Attention for Deep Convolutional Neural Networks,
ICASSP 2021, arXiv:2102.00240. Checked against wofmanaf/SA-Net (outputs only;
that repository has no licence).

Deviations: with the paper's 64 groups C must be a multiple of 128;
``groups='auto'`` takes fewer where needed.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, Weights, gated, group_norm
from mmattn.kernels.primitive import laid_out_like, runs_pure
from mmattn.registry import MODELS


@MODELS.register_module()
class SA(Attention):
    """Channel gate on one half of each group, spatial gate on the other, shuffled.

    Formula:
        per group [a, b]: a' = a * sigmoid(w1 mean_hw(a) + b1), b' = b * sigmoid(w2 GN(b) + b2)
        y = shuffle([a', b'])

    Args:
        groups: Groups of channels, C must be a multiple of ``2 * groups``; 'auto'
            takes the largest number up to 64.
    """

    any_dims = True

    def __init__(self, in_channels: int, groups: int | str = 64, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        if groups == 'auto':
            checks.multiple(self, 2, 'is odd and has no halves')
        self.groups = checks.groups(self, 'groups', groups, most=64, parts=2)
        width = in_channels // (2 * self.groups)
        self.cweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.cbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.sweight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.sbias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.gn = nn.GroupNorm(width, width)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(groups=channels // (2 * weights['cweight'].shape[1]))

    def attend(self, x: Tensor) -> Tensor:
        if runs_pure(x):
            return self._formula(x)
        # The norm's weight and bias are part of the gate's.
        slope = torch.stack((self.cweight.flatten(), self.sweight.flatten() * self.gn.weight))
        sbias = torch.addcmul(self.sbias.flatten(), self.sweight.flatten(), self.gn.bias)
        offset = torch.stack((self.cbias.flatten(), sbias))
        return kernels.shuffle_gate(x, slope, offset, self.groups, self.gn.eps)

    def _formula(self, x: Tensor) -> Tensor:
        """As the paper has it, by layers of torch."""
        batch, channels, height, width = x.shape
        halves = x.reshape(batch * self.groups, -1, height, width).chunk(2, 1)
        logits = self.cweight * halves[0].mean((2, 3), keepdim=True) + self.cbias
        channel = gated(halves[0], logits.sigmoid())
        weight, bias = self.sweight.to(x.dtype), self.sbias.to(x.dtype)
        spatial = gated(halves[1], (weight * group_norm(self.gn, halves[1]) + bias).sigmoid())
        out = torch.cat((channel, spatial), 1).reshape(batch, 2, channels // 2, height, width)
        out = out.transpose(1, 2).reshape(batch, channels, height, width)
        return laid_out_like(out, x)
