"""GAM: global attention mechanism.

Paper: Global Attention Mechanism: Retain Information to Enhance Channel-Spatial
Interactions, arXiv:2112.05561. There is no official code; checked against the
module of z1069614715/objectdetection_script (outputs only; no licence).

Place: not fixed by the sources; as CBAM.

Deviations: at least one hidden channel. The grouped convolutions with a channel
shuffle, which the paper mentions for ResNet-50, are left out: the checked module
has neither.
"""

from torch import Tensor, nn

from mmattn.attention.base import (
    Attention,
    Weights,
    batch_norm,
    gated,
    hidden_channels,
    reduction_from,
)
from mmattn.registry import MODELS


@MODELS.register_module()
class GAM(Attention):
    """A gate per element from the channels of its place, then one from 7x7 convolutions.

    Formula:
        u = x * sigmoid(W2 relu(W1 x)), on the channels of each place
        y = u * sigmoid(BN(conv_7x7(relu(BN(conv_7x7(u))))))

    Args:
        reduction: C is divided by it between both layers (the original's rate); positive.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 4,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        hidden = hidden_channels(self, reduction)
        self.channel_attention = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, in_channels, 1)
        )
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 7, padding=3),
            batch_norm(self, hidden, norm_cfg),
            nn.ReLU(),
            nn.Conv2d(hidden, in_channels, 7, padding=3),
            batch_norm(self, in_channels, norm_cfg),
        )

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(reduction=reduction_from(weights['channel_attention.0.weight']))

    def attend(self, x: Tensor) -> Tensor:
        x = gated(x, self.channel_attention(x).sigmoid())
        return gated(x, self.spatial_attention(x).sigmoid())
