"""External: external attention.

Paper: Beyond Self-attention: External Attention using Two Linear Layers for
Visual Tasks, TPAMI 2022, arXiv:2105.02358. Checked against MenghaoGuo/EANet
(outputs only; no licence at its root).

Place: in a segmentation head, on 512 channels; it adds its input and ends in a
ReLU, so that in a block it stands behind one.

Deviations: the two memories start as each other's transpose and are apart from
then on (the original's share their storage until the model is moved or cast).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention.base import Attention, batch_norm
from mmattn.kernels.primitive import no_autocast
from mmattn.registry import MODELS

MEMORIES = 64


@MODELS.register_module()
class External(Attention):
    """Attention of every place to 64 learned memories, linear in the number of places.

    Formula:
        A = softmax over the places of (M_k conv_1x1(x)); A = A / (1e-9 + sum over the memories)
        y = relu(x + BN(conv_1x1(M_v A)))

    Args:
        norm_cfg: mmcv's config of the norm layer; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    any_dims = True
    placement = 'inner'

    def __init__(
        self, in_channels: int, warm_start: bool = False, norm_cfg: dict | None = None
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.conv1 = nn.Conv2d(in_channels, in_channels, 1)
        # 1x1 convolutions of the map, the same as the original's along the places.
        self.linear_0 = nn.Conv2d(in_channels, MEMORIES, 1, bias=False)
        self.linear_1 = nn.Conv2d(MEMORIES, in_channels, 1, bias=False)
        self.conv2 = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 1, bias=False),
            batch_norm(self, in_channels, norm_cfg),
        )
        self.init_own()

    def init_own(self) -> None:
        for conv in (self.conv1, self.linear_0, self.conv2[0]):
            nn.init.normal_(conv.weight, std=math.sqrt(2 / conv.out_channels))
        with torch.no_grad():
            self.linear_1.weight.copy_(self.linear_0.weight.transpose(0, 1))

    def attend(self, x: Tensor) -> Tensor:
        shares = _normalised(self.linear_0(self.conv1(x)))
        return F.relu(x + self.conv2(self.linear_1(shares)))


def _normalised(logits: Tensor) -> Tensor:
    """(N, M, H, W), over the places and then over the memories."""
    with no_autocast(logits):
        # Shares of thousands of places are below what float16 holds.
        wide = logits.float() if logits.dtype == torch.float16 else logits
        shares = wide.flatten(2).softmax(2).view_as(logits)
        return (shares / (shares.sum(1, keepdim=True) + 1e-9)).to(logits.dtype)
