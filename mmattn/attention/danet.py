"""DANet: position attention and channel attention side by side.

Paper: Dual Attention Network for Scene Segmentation, CVPR 2019, arXiv:1809.02983.
Checked against junfu1115/DANet (MIT; its head; mmseg has one of its own).

Place: a segmentation head on stage 4; here on a block's output, for the last stage.

Deviations: the outputs of the branches by themselves (conv6, conv7), and as many
outputs as classes, belong to a head. At least one hidden channel. The head's
dropout of 0.1 is off unless ``dropout_ratio`` says so.
"""

from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, batch_norm, hidden_channels
from mmattn.attention.cam import CAM
from mmattn.attention.pam import PAM
from mmattn.registry import MODELS


@MODELS.register_module()
class DANet(Attention):
    """PAM and CAM on a quarter of the channels, each between two convolutions; their sum.

    Quadratic in the number of positions, as PAM.

    Formula:
        f = relu(BN(conv_3x3(.))), each its own
        y = W (f(PAM(f(x))) + f(CAM(f(x)))) + b

    Args:
        dropout_ratio: Share of the channels that training drops before the last layer,
            from 0 to below 1.
        max_positions: Most positions (H * W) that it takes; a larger map is a ValueError.
            None is any number.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone
            fills in its own kind of BatchNorm (SyncBN, ...).
    """

    def __init__(
        self,
        in_channels: int,
        dropout_ratio: float = 0.0,
        max_positions: int | None = 16384,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        message = f'dropout_ratio must be from 0 to below 1, got {dropout_ratio!r}'
        checks.require(self, 0 <= dropout_ratio < 1, message)
        width = hidden_channels(self, 4)

        def layer(channels: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            return nn.Sequential(conv, batch_norm(self, width, norm_cfg), nn.ReLU())

        self.conv5a = layer(in_channels)
        self.conv5c = layer(in_channels)
        self.sa = PAM(width, max_positions)
        self.sc = CAM(width)
        self.conv51 = layer(width)
        self.conv52 = layer(width)
        self.conv8 = nn.Sequential(nn.Dropout2d(dropout_ratio), nn.Conv2d(width, in_channels, 1))

    def attend(self, x: Tensor) -> Tensor:
        positions = self.conv51(self.sa(self.conv5a(x)))
        channels = self.conv52(self.sc(self.conv5c(x)))
        return self.conv8(positions + channels)
