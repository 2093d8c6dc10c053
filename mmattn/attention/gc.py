"""GC: global context, GCNet.

Paper: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCV
2019 workshops, arXiv:1904.11492. Checked against xvjiarui/GCNet (Apache-2.0; mmcv's
ContextBlock is the same; its checkpoints say ``context_block`` for the slot).

Deviations: with ``warm_start`` the last layer of a branch does not start at 0,
where two zeros in a product would never learn. The paper's ratio is the default,
mmcv has none.
"""

from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention
from mmattn.attention.positions import attended_mean
from mmattn.registry import MODELS

POOLS = ('att', 'avg')
FUSIONS = ('channel_add', 'channel_mul')


@MODELS.register_module()
class GC(Attention):
    """One context of the whole map, pooled by attention, added to every position.

    Formula:
        z = sum over j of softmax_j(w x_j) x_j, or mean_hw(x)
        T(z) = W2 relu(LN(W1 z))
        y = x + T(z); with channel_mul x * sigmoid(T'(z)) in place of x

    Args:
        ratio: The hidden layer has int(C * ratio) channels, at least one; positive.
        pooling_type: 'att' pools by attention, 'avg' by the mean.
        fusion_types: One or both of 'channel_add' and 'channel_mul'.
    """

    any_dims = True

    def __init__(
        self,
        in_channels: int,
        ratio: float = 1 / 16,
        pooling_type: str = 'att',
        fusion_types: tuple[str, ...] = ('channel_add',),
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.require(self, ratio > 0, f'ratio must be positive, got {ratio!r}')
        checks.choice(self, 'pooling_type', pooling_type, POOLS)
        fusions = set() if isinstance(fusion_types, str) else set(fusion_types)
        message = f'fusion_types must be one or both of {FUSIONS}, got {fusion_types!r}'
        checks.require(self, bool(fusions) and fusions <= set(FUSIONS), message)
        hidden = max(1, int(in_channels * ratio))
        self.conv_mask = nn.Conv2d(in_channels, 1, 1) if pooling_type == 'att' else None
        self.channel_add_conv = self._branch(hidden, 'channel_add' in fusions)
        self.channel_mul_conv = self._branch(hidden, 'channel_mul' in fusions)
        self.init_own()

    def init_own(self) -> None:
        if self.conv_mask is not None:
            nn.init.kaiming_normal_(self.conv_mask.weight, nonlinearity='relu')
            nn.init.zeros_(self.conv_mask.bias)
        for branch in (self.channel_add_conv, self.channel_mul_conv):
            if branch is not None and not self.warm_start:
                nn.init.zeros_(branch[3].weight)
                nn.init.zeros_(branch[3].bias)

    def _branch(self, hidden: int, wanted: bool) -> nn.Sequential | None:
        if not wanted:
            return None
        return nn.Sequential(
            nn.Conv2d(self.in_channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, self.in_channels, 1),
        )

    def attend(self, x: Tensor) -> Tensor:
        context = self._context(x)[:, :, None, None]
        out = x
        if self.channel_mul_conv is not None:
            out = kernels.gate(x, channels=self.channel_mul_conv(context).flatten(1).sigmoid())
        if self.channel_add_conv is not None:
            out = out + self.channel_add_conv(context).to(x.dtype)
        return out

    def _context(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        if self.conv_mask is None:
            return kernels.mean(x)
        return attended_mean(x, kernels.combine(x, self.conv_mask.weight, self.conv_mask.bias))
