"""MixedPooling: the mixed pooling module (MPM) of SPNet.

Paper: Strip Pooling: Rethinking Spatial Pooling for Scene Parsing, CVPR 2020,
arXiv:2003.13328. Checked against houqb/SPNet (MIT, for non-commercial use), whose class of
this is named StripPooling.

Place: twice in a segmentation head, on the backbone's output; it adds its input
and ends in a ReLU, so that in a block it stands behind one.

Deviations: at least one hidden channel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, batch_norm, hidden_channels
from mmattn.attention.pooling import grid_means, interpolate
from mmattn.kernels.primitive import laid_out_like
from mmattn.registry import MODELS

# Name -> size of the kernel between C/4 and C/4 channels.
BRANCHES = {
    'conv2_0': (3, 3),
    'conv2_1': (3, 3),
    'conv2_2': (3, 3),
    'conv2_3': (1, 3),
    'conv2_4': (3, 1),
}


@MODELS.register_module()
class MixedPooling(Attention):
    """The map plus what means over grids and over strips tell about it.

    Formula:
        x1, x2 = relu(BN(conv_1x1(x))), C/4 channels each; F, F', ... = BN(conv_3x3(.))
        p = F(x1) + sum over g in pool_size of upsample(F'(gridmean_gxg(x1)))
        q = BN(conv_1x3(mean_h(x2))) + BN(conv_3x1(mean_w(x2)))
        y = relu(x + BN(conv_1x1([relu(F''(relu(p))), relu(F'''(relu(q)))])))

    Args:
        pool_size: Cells per side of both grids, which may be more than the map has.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        pool_size: tuple[int, int] = (20, 12),
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        pool_size = checks.several(self, 'pool_size', pool_size, least=2, most=2)
        for size in pool_size:
            checks.positive(self, 'pool_size', size)
        self.pool_size = pool_size
        hidden = hidden_channels(self, 4)

        def layer(channels: int, out: int, size: tuple[int, int]) -> nn.Sequential:
            padding = [n // 2 for n in size]
            conv = nn.Conv2d(channels, out, size, padding=padding, bias=False)
            return nn.Sequential(conv, batch_norm(self, out, norm_cfg))

        self.conv1_1 = layer(in_channels, hidden, (1, 1))
        self.conv1_2 = layer(in_channels, hidden, (1, 1))
        for name, size in BRANCHES.items():
            self.add_module(name, layer(hidden, hidden, size))
        self.conv2_5 = layer(hidden, hidden, (3, 3))
        self.conv2_6 = layer(hidden, hidden, (3, 3))
        self.conv3 = layer(2 * hidden, in_channels, (1, 1))

    def attend(self, x: Tensor) -> Tensor:
        short = self._grids(self.conv1_1(x).relu())
        long = self._strips(self.conv1_2(x).relu())
        both = torch.cat((self.conv2_5(short).relu(), self.conv2_6(long).relu()), 1)
        return F.relu(x + self.conv3(both))

    def _grids(self, x: Tensor) -> Tensor:
        coarse, coarser = grid_means(x, *self.pool_size)
        out = self.conv2_0(x) + interpolate(self.conv2_1(coarse), x)
        return (out + interpolate(self.conv2_2(coarser), x)).relu_()

    def _strips(self, x: Tensor) -> Tensor:
        rows, columns = kernels.means(x)
        # To interpolate one row, or one column, is to repeat it.
        columns = self.conv2_3(laid_out_like(columns[:, :, None], x))
        return (columns + self.conv2_4(laid_out_like(rows[:, :, :, None], x))).relu_()
