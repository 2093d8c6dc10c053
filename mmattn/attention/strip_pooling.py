"""StripPooling: the strip pooling module (SPM) of SPNet.

Paper: Strip Pooling: Rethinking Spatial Pooling for Scene Parsing, CVPR 2020,
arXiv:2003.13328. Checked against houqb/SPNet (MIT, for non-commercial use).

Place: behind the 3x3 convolution, in the last block of each stage and all blocks
of the last.

Deviations: the original returns the gate, this the map times it.
"""

from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention.base import Attention, batch_norm, gated
from mmattn.kernels.primitive import laid_out_like
from mmattn.registry import MODELS


@MODELS.register_module()
class StripPooling(Attention):
    """A gate per element from the means of its row and of its column.

    Formula:
        r = BN(conv_3x1(mean_w(x))), c = BN(conv_1x3(mean_h(x)))
        y = x * sigmoid(conv_1x1(relu(r + c)))

    Args:
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    placement = 'inner'

    def __init__(
        self, in_channels: int, warm_start: bool = False, norm_cfg: dict | None = None
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.conv1 = nn.Conv2d(in_channels, in_channels, (3, 1), padding=(1, 0), bias=False)
        self.bn1 = batch_norm(self, in_channels, norm_cfg)
        self.conv2 = nn.Conv2d(in_channels, in_channels, (1, 3), padding=(0, 1), bias=False)
        self.bn2 = batch_norm(self, in_channels, norm_cfg)
        self.conv3 = nn.Conv2d(in_channels, in_channels, 1)

    def attend(self, x: Tensor) -> Tensor:
        rows, columns = kernels.means(x)
        rows = self.bn1(self.conv1(laid_out_like(rows[:, :, :, None], x)))
        columns = self.bn2(self.conv2(laid_out_like(columns[:, :, None], x)))
        return gated(x, self.conv3((rows + columns).relu_()).sigmoid())
