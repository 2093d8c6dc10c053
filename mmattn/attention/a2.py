"""A2: double attention, A2-Net.

Paper: A2-Nets: Double Attention Networks, NeurIPS 2018, arXiv:1810.11579. No
official code; checked against changzy00/pytorch-attention (MIT), which leaves out the
addition of the input.

Place: in the paper a block of its own between residual blocks; here on a
block's output.

Deviations: none. The paper's quarter of the channels is the default of ``c_m``
and ``c_n``.
"""

from torch import Tensor, nn

from mmattn.attention import checks
from mmattn.attention.base import Attention, softmax
from mmattn.kernels.primitive import laid_out_like
from mmattn.registry import MODELS


@MODELS.register_module()
class A2(Attention):
    """Gathers global descriptors of the map and distributes them to every position.

    Linear in the number of positions.

    Formula:
        A = W_a x (m rows), B = softmax over the places of W_b x (n rows)
        V = softmax over the n rows of W_v x
        y = x + W_p (A B^T) V

    Args:
        c_m: Channels of the features that are gathered; None is C // 4.
        c_n: Number of descriptors; None is C // 4.
        residual: Whether the input is added.
    """

    original_keys = {
        'convA': 'features',
        'convB': 'gather',
        'convV': 'distribute',
        'proj': 'project',
    }
    any_dims = True

    def __init__(
        self,
        in_channels: int,
        c_m: int | None = None,
        c_n: int | None = None,
        residual: bool = True,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        quarter = max(1, in_channels // 4)
        c_m, c_n = [quarter if value is None else value for value in (c_m, c_n)]
        checks.positive(self, 'c_m', c_m, ' or None')
        checks.positive(self, 'c_n', c_n, ' or None')
        self.residual = residual
        self.features = nn.Conv2d(in_channels, c_m, 1)
        self.gather = nn.Conv2d(in_channels, c_n, 1)
        self.distribute = nn.Conv2d(in_channels, c_n, 1)
        self.project = nn.Conv2d(c_m, in_channels, 1)

    def attend(self, x: Tensor) -> Tensor:
        shares = softmax(self.gather(x).flatten(2), 2).transpose(1, 2)  # (N, H W, n)
        descriptors = self.features(x).flatten(2) @ shares  # (N, m, n)
        wanted = softmax(self.distribute(x).flatten(2), 1)  # (N, n, H W)
        given = (descriptors @ wanted).unflatten(2, x.shape[2:])
        out = self.project(laid_out_like(given, x))
        return x + out.to(x.dtype) if self.residual else out
