"""SPSE and RGSE: squeeze and excitation with spatial pooling.

Paper: Delving Deep into Spatial Pooling for Squeeze-and-Excitation Networks,
Pattern Recognition 2022. Checked against megvii-research/RG-SENet_SP-SENet.

Deviations: at least one hidden channel. RGSE's 7x7 windows make a grid of 8, 4,
2, 1 by stage at 224x224, where the original is tied to that size; here the grid
is fixed and the windows follow the map.
"""

import torch
from torch import Tensor, nn

from mmattn.attention.base import (
    Attention,
    Weights,
    batch_norm,
    gated,
    hidden_channels,
    reduction_from,
)
from mmattn.attention.pooling import grid_mean
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue


class _Excitation(Attention):
    """Hidden layer and gate that both share."""

    def __init__(self, in_channels: int, reduction: int, warm_start: bool) -> None:
        super().__init__(in_channels, warm_start)
        hidden = hidden_channels(self, reduction)
        self.fc1 = nn.Linear(in_channels, hidden)
        self.fc2 = nn.Linear(hidden, in_channels)

    def squeeze(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        raise NotImplementedError

    def attend(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x).relu().flatten(1)
        gate = self.fc2(self.fc1(squeezed).relu()).sigmoid()
        return gated(x, gate[:, :, None, None])


@MODELS.register_module()
class SPSE(_Excitation):
    """SE whose descriptor joins means over grids of 1, 2x2 and 4x4 windows.

    Formula:
        z = relu(BN(sum over g in 1, 2, 4 of dwconv_gxg(gridmean_g(x))))
        y = x * sigmoid(W2 relu(W1 z))

    Args:
        in_channels: Channels C of the input.
        reduction: C is divided by it in the hidden layer.
        warm_start: Start as the identity, see :class:`Attention`.
        norm_cfg: mmcv's config of the norm layer; None is a BatchNorm. A backbone
            fills in its own kind of BatchNorm (SyncBN, ...).

    Shape:
        (N, C, H, W) -> (N, C, H, W). Training needs N > 1 (a BatchNorm of one
        value per channel and image).

    Raises:
        ValueError: If ``reduction`` is not positive.
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
        super().__init__(in_channels, reduction, warm_start)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, in_channels, grid, groups=in_channels) for grid in (1, 2, 4)
        )
        self.norm = batch_norm(self, in_channels, norm_cfg)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(reduction=reduction_from(weights['fc1.weight']))

    def squeeze(self, x: Tensor) -> Tensor:
        pooled = [conv(grid_mean(x, conv.kernel_size[0])) for conv in self.convs]
        return self.norm(torch.stack(pooled).sum(0))


@MODELS.register_module()
class RGSE(_Excitation):
    """SE whose descriptor weighs the means of a grid of windows.

    Formula:
        z = relu(BN(dwconv_gxg(gridmean_g(x))))
        y = x * sigmoid(W2 relu(W1 z))

    Args:
        in_channels: Channels C of the input.
        reduction: C is divided by it in the hidden layer.
        grid: Windows per side; in a backbone 8, 4, 2, 1 by stage. With 1 there is
            nothing to weigh, and neither convolution nor norm.
        warm_start: Start as the identity, see :class:`Attention`.
        norm_cfg: As in :class:`SPSE`.

    Shape:
        (N, C, H, W) -> (N, C, H, W). Training with a grid above 1 needs N > 1.

    Raises:
        ValueError: If ``reduction`` or ``grid`` is not positive.
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
        super().__init__(in_channels, reduction, warm_start)
        if not isinstance(grid, int) or grid < 1:
            raise InvalidValue(f'RGSE: grid must be a positive integer, got {grid!r}')
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
        return dict(reduction=reduction_from(weights['fc1.weight']), grid=grid)

    def squeeze(self, x: Tensor) -> Tensor:
        if self.grid == 1:
            return x.mean((2, 3), keepdim=True)
        return self.norm(self.conv(grid_mean(x, self.grid)))
