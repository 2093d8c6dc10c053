"""ParNet: the RepVGG-SSE block of a non-deep network.

Paper: Non-deep Networks, NeurIPS 2022, arXiv:2110.07641. Checked against
imankgoyal/NonDeepNetworks (BSD-3).

Place: in the paper in place of a residual block; here on a block's output.

Deviations: none. (The module of that name in xmu-xiaoma666's collection is
another one: its identity has no norm, its gate sees the input, its convolutions
have biases.)
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention.base import Attention, batch_norm
from mmattn.registry import MODELS


@MODELS.register_module()
class ParNet(Attention):
    """Three branches, a 3x3 and a 1x1 convolution and a gated identity, then SiLU.

    Formula:
        b = BN(x)
        y = silu(BN(conv_3x3(x)) + BN(conv_1x1(x)) + b * sigmoid(W mean_hw(b)))

    Args:
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone
            fills in its own kind of BatchNorm (SyncBN, ...).
    """

    original_keys = {
        'rbr_identity': 'norm',
        'rbr_dense.conv': 'conv3',
        'rbr_dense.bn': 'norm3',
        'rbr_1x1.conv': 'conv1',
        'rbr_1x1.bn': 'norm1',
        'se.cvsig.conv': 'fc',
    }

    def __init__(
        self, in_channels: int, warm_start: bool = False, norm_cfg: dict | None = None
    ) -> None:
        super().__init__(in_channels, warm_start)
        # A norm behind its convolution, which mmcv's fuse_conv_bn goes by.
        self.norm = batch_norm(self, in_channels, norm_cfg)
        self.conv3 = nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False)
        self.norm3 = batch_norm(self, in_channels, norm_cfg)
        self.conv1 = nn.Conv2d(in_channels, in_channels, 1, bias=False)
        self.norm1 = batch_norm(self, in_channels, norm_cfg)
        self.fc = nn.Linear(in_channels, in_channels, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        identity = self.norm(x)
        identity = kernels.gate(identity, channels=self.fc(kernels.mean(identity)).sigmoid())
        return F.silu(identity + self.norm3(self.conv3(x)) + self.norm1(self.conv1(x)))
