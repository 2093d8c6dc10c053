"""GCT: gated channel transformation.

Paper: Gated Channel Transformation for Visual Recognition, CVPR 2020,
arXiv:1909.11519. Checked against z-x-yang/GCT (outputs only; its PyTorch part has
no licence). Not the Gaussian context transformer of CVPR 2021.

Place: in the paper in front of every convolution of a block; here in front of
its last. beta is best left out of the weight decay.

Deviations: with ``warm_start`` gamma starts at 1, not at 0, where two zeros in a
product would never learn.
"""

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention
from mmattn.kernels.primitive import cast, wide_dtype
from mmattn.registry import MODELS

MODES = ('l2', 'l1')


@MODELS.register_module()
class GCT(GateAttention):
    """Channel gate from each channel's norm relative to that of the others.

    Formula:
        e = alpha * sqrt(sum_hw(x^2) + eps), n = gamma / sqrt(mean_c(e^2) + eps)
        y = x * (1 + tanh(e n + beta))
        mode='l1': e = alpha * sum_hw(|x|), n = gamma / (mean_c(|e|) + eps)

    Args:
        epsilon: Added to the sums (eps), positive.
        mode: 'l2' or 'l1', the norm.
        after_relu: Nothing is negative in x, so that mode 'l1' need not take |x|.
    """

    placement = 'inner'
    any_dims = True

    def __init__(
        self,
        in_channels: int,
        epsilon: float = 1e-5,
        mode: str = 'l2',
        after_relu: bool = False,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.require(self, epsilon > 0, f'epsilon must be positive, got {epsilon!r}')
        self.epsilon = epsilon
        self.mode = checks.choice(self, 'mode', mode, MODES)
        self.after_relu = after_relu
        shape = (1, in_channels, 1, 1)
        self.alpha = nn.Parameter(torch.ones(shape))
        self.gamma = nn.Parameter(torch.ones(shape) if warm_start else torch.zeros(shape))
        self.beta = nn.Parameter(torch.zeros(shape))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        # In float32 whatever the map: sums over one overflow 16 bits.
        alpha, gamma, beta = [
            cast(p.flatten(), wide_dtype(x)) for p in (self.alpha, self.gamma, self.beta)
        ]
        if self.mode == 'l2':
            embedding = alpha * (kernels.square_sum(x) + self.epsilon).sqrt()
            scale = (embedding.square().mean(1, keepdim=True) + self.epsilon).sqrt()
        else:
            count = x.shape[2] * x.shape[3]
            sums = kernels.mean(x if self.after_relu else x.abs()).to(wide_dtype(x)) * count
            embedding = alpha * sums
            scale = embedding.abs().mean(1, keepdim=True) + self.epsilon
        return dict(channels=1 + torch.addcmul(beta, embedding, gamma / scale).tanh())
