"""SPSE and RGSE: squeeze and excitation with spatial pooling.

Paper: Delving Deep into Spatial Pooling for Squeeze-and-Excitation Networks,
Pattern Recognition 2022. Checked against megvii-research/RG-SENet_SP-SENet.

Deviations: at least one hidden channel. RGSE's 7x7 windows make a grid of 8, 4,
2, 1 by stage at 224x224, where the original is tied to that size; here the grid
is fixed and the windows follow the map.
"""

from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Weights, batch_norm
from mmattn.attention.pooling import weigh_grids
from mmattn.attention.se import Excitation
from mmattn.registry import MODELS


@MODELS.register_module()
class SPSE(Excitation):
    """SE whose descriptor joins means over grids of 1, 2x2 and 4x4 windows.

    Formula:
        z = relu(BN(sum over g in 1, 2, 4 of dwconv_gxg(gridmean_g(x))))
        y = x * sigmoid(W2 relu(W1 z))

    Args:
        reduction: C is divided by it in the hidden layer; positive.
    """

    original_keys = {
        'fc_spatial1': 'convs.0',
        'fc_spatial2': 'convs.1',
        'fc_spatial4': 'convs.2',
        'fc_bn': 'norm',
        'fc_reduction': 'fc1',
        'fc_extention': 'fc2',
    }

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, reduction, warm_start=warm_start)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, grid, groups=in_channels) for grid in (1, 2, 4)
        )
        self.norm = batch_norm(self, in_channels, norm_cfg)

    def squeeze(self, x: Tensor) -> Tensor:
        pooled = weigh_grids(x, *self.convs)
        return self.norm(pooled[:, :, None, None]).relu().flatten(1)


@MODELS.register_module()
class RGSE(Excitation):
    """SE whose descriptor weighs the means of a grid of windows.

    Formula:
        z = relu(BN(dwconv_gxg(gridmean_g(x))))
        y = x * sigmoid(W2 relu(W1 z))

    Args:
        reduction: C is divided by it in the hidden layer; positive.
        grid: Windows per side, positive; in a backbone 8, 4, 2, 1 by stage. With 1
            there is nothing to weigh, and neither convolution nor norm.
    """

    original_keys = {
        'fc_spatial.fc_spatial': 'conv',
        'fc_spatial.bn_spatial': 'norm',
        'fc_reduction': 'fc1',
        'fc_extention': 'fc2',
    }

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        grid: int = 1,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, reduction, warm_start=warm_start)
        checks.positive(self, 'grid', grid)
        self.grid = grid
        if grid > 1:
            self.conv = nn.Conv2d(in_channels, in_channels, grid, groups=in_channels, bias=False)
            self.norm = batch_norm(self, in_channels, norm_cfg)

    @classmethod
    def slot_defaults(cls, stage: int) -> dict:
        return dict(grid=max(8 >> stage, 1))

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        grid = weights['conv.weight'].shape[-1] if 'conv.weight' in weights else 1
        return dict(**super().arguments_from(channels, weights), grid=grid)

    def squeeze(self, x: Tensor) -> Tensor:
        if self.grid == 1:
            return super().squeeze(x).relu()
        pooled = weigh_grids(x, self.conv)
        return self.norm(pooled[:, :, None, None]).relu().flatten(1)
