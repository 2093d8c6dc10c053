"""GE: gather-excite.

Paper: Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks,
NeurIPS 2018, arXiv:1810.12348. Checked against the 2022 version of
huggingface/pytorch-image-models (Apache-2.0), and for the global gather with parameters
against hyunjaelee410/style-based-recalibration-module (outputs only; no licence).

Deviations:
- The global gather with parameters pools to a grid of ``map_size``, so that it
  takes any map; on one of that size it is the original.
- No ReLU between a global gather and the two layers, as in the library; the
  paper's own network has one.
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, batch_norm
from mmattn.attention.pooling import weigh_grids
from mmattn.registry import MODELS

EXTENTS = (0, 2, 4, 8)


@MODELS.register_module()
class GE(GateAttention):
    """A gate from the context around each place, gathered over an extent and spread again.

    The paper's theta-minus (nothing is learned) is ``use_mlp=False``, its theta
    ``extra_params=True, use_mlp=False``, its theta-plus ``extra_params=True``.

    Formula:
        g = mean over the extent around each place, every extent-th place, or the whole map
        extra_params: g = depthwise 3x3 convolutions of stride 2 with BN, relu between them
        y = x * sigmoid(up(W2 relu(W1 g + b1) + b2)), or without the layers sigmoid(up(g))

    Args:
        extra_params: Gather by depthwise convolutions instead of means; global, by one
            as large as the map.
        extent: Side of what is gathered, 2, 4 or 8; 0 is the whole map.
        use_mlp: Whether two layers follow.
        rd_ratio: Of them the hidden one has C * rd_ratio channels, at least one; positive.
        map_size: Side of the grid of a global gather with parameters; in a backbone 56,
            28, 14, 7 by stage.
        norm_cfg: mmcv's config of the norm layers; None is a BatchNorm. A backbone
            fills in its own kind of BatchNorm (SyncBN, ...).
    """

    original_keys = {'conv.0': 'gather.conv1', 'conv.1': 'gather.norm1'}

    def __init__(
        self,
        in_channels: int,
        extra_params: bool = False,
        extent: int = 0,
        use_mlp: bool = True,
        rd_ratio: float = 1 / 16,
        map_size: int = 7,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        message = f'extent must be one of {", ".join(map(str, EXTENTS))}, got {extent!r}'
        checks.require(self, extent in EXTENTS, message)
        checks.require(self, rd_ratio > 0, f'rd_ratio must be positive, got {rd_ratio!r}')
        checks.positive(self, 'map_size', map_size)
        self.extent, self.map_size = extent, map_size
        self.any_dims = extent == 0 and not extra_params
        self.gather = nn.Module()
        self.steps = (int(math.log2(extent)) if extent else 1) if extra_params else 0
        for step in range(1, self.steps + 1):
            if extent:
                conv = self._depthwise(3, stride=2, padding=1, bias=False)
            else:
                conv = self._depthwise(map_size)
            self.gather.add_module(f'conv{step}', conv)
            self.gather.add_module(f'norm{step}', batch_norm(self, in_channels, norm_cfg))
        self.mlp = nn.Module() if use_mlp else None
        if use_mlp:
            hidden = max(1, int(in_channels * rd_ratio + 0.5))
            self.mlp.fc1 = nn.Conv2d(in_channels, hidden, 1)
            self.mlp.fc2 = nn.Conv2d(hidden, in_channels, 1)

    @classmethod
    def slot_defaults(cls, stage: int) -> dict:
        return dict(map_size=max(56 >> stage, 7))

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        gathered = self._gathered(x)
        if self.mlp is not None:
            gathered = self.mlp.fc2(self.mlp.fc1(gathered).relu())
        gate = gathered.sigmoid()
        if not self.extent:
            return dict(channels=gate.flatten(1))
        return dict(planes=F.interpolate(gate, size=x.shape[2:], mode='nearest'))

    def _gathered(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        if not self.extent:
            if not self.steps:
                return kernels.mean(x)[:, :, None, None]
            return self.gather.norm1(weigh_grids(x, self.gather.conv1)[:, :, None, None])
        if not self.steps:
            side, pad = 2 * self.extent - 1, self.extent - 1
            return F.avg_pool2d(x, side, self.extent, pad, count_include_pad=False)
        for step in range(1, self.steps + 1):
            x = self.gather.get_submodule(f'conv{step}')(x if step == 1 else x.relu())
            x = self.gather.get_submodule(f'norm{step}')(x)
        return x

    def _depthwise(self, size: int, **options) -> nn.Conv2d:
        return nn.Conv2d(
            self.in_channels, self.in_channels, size, groups=self.in_channels, **options
        )
