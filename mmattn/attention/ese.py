"""ESE: effective squeeze and excitation.

Paper: CenterMask: Real-Time Anchor-Free Instance Segmentation, CVPR 2020,
arXiv:1911.06667. Checked against youngwanLEE/vovnet-detectron2 (outputs only;
that repository is for non-commercial use).

Place: in VoVNetV2 on the output of a module, before the addition.

Deviations: none.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention.base import GateAttention
from mmattn.kernels.primitive import seen_through
from mmattn.registry import MODELS


@MODELS.register_module()
class ESE(GateAttention):
    """Channel gate from the global mean through one layer, without a bottleneck.

    Formula:
        y = x * relu6(W mean_hw(x) + b + 3) / 6
    """

    any_dims = True

    def __init__(self, in_channels: int, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.fc = nn.Linear(in_channels, in_channels)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.fc(kernels.mean(x))
        if not torch.is_grad_enabled() and not seen_through(x):
            return dict(channels=F.hardsigmoid(logits))
        # The same, with a second derivative.
        return dict(channels=F.relu6(logits + 3) / 6)
