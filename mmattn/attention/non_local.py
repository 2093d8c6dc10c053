"""NonLocal: the non-local block.

Paper: Non-local Neural Networks, CVPR 2018, arXiv:1711.07971. Checked against
open-mmlab/mmcv's NonLocal2d (Apache-2.0).

Place: in mmdet a plugin behind a block's second convolution, in the paper a block
of its own in stage 3.

Deviations:
- 'dot_product' first sums what the positions give and then what each takes, which
  is the same and linear in their number.
- ``sub_sample`` pools a side of 1 to 1 (the original fails).
- With ``warm_start`` the last layer does not start at 0, where two zeros in a product
  would never learn.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention import checks
from mmattn.attention.base import Attention, batch_norm, hidden_channels
from mmattn.attention.positions import attend_to, like_map, sequence
from mmattn.registry import MODELS

MODES = ('embedded_gaussian', 'gaussian', 'dot_product', 'concatenation')
ADVICE = (
    "Put it where the map is smaller (a deeper stage, smaller crops), or take mode='dot_product' "
    'or, for a quarter of them, sub_sample=True'
)


@MODELS.register_module()
class NonLocal(Attention):
    """Every position takes from every other by how alike they are, and adds it.

    But for mode 'dot_product', quadratic in the number of positions: H * W * H * W
    logits, a quarter of them with ``sub_sample``; 282 million at 100 x 168. torch's
    fused attention does not write them out, but computes them; mode 'concatenation',
    exported graphs, and where it has no kernel, take memory for them.

    Formula:
        y_i = x_i + O sum over j of A_ij g_j; theta, phi, g and O are 1x1 convolutions
        embedded_gaussian: A = softmax_j(theta_i . phi_j / sqrt(h)); gaussian: of x_i . x_j
        dot_product: A = theta_i . phi_j / n; concatenation: relu(w . [theta_i, phi_j]) / n

    Args:
        reduction: C is divided by it within (h); positive. Mode 'gaussian' compares all C.
        use_scale: Whether 'embedded_gaussian' divides by sqrt(h); the paper does not.
        mode: 'embedded_gaussian', 'gaussian', 'dot_product' or 'concatenation'.
        sub_sample: Whether positions take from the maxima of 2x2 windows.
        norm: Whether a norm follows the last convolution, which then has no bias.
        max_positions: The pairs of positions are at most its square; a larger map is a
            ValueError. None is any number.
        norm_cfg: mmcv's config of that norm layer; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    original_keys = {
        'theta.conv': 'theta',
        'phi.conv': 'phi',
        'phi.0.conv': 'phi',
        'g.conv': 'g',
        'g.0.conv': 'g',
        'concat_project.conv': 'concat_project',
        'conv_out.conv': 'conv_out',
        'conv_out.bn': 'norm',
    }
    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        use_scale: bool = True,
        mode: str = 'embedded_gaussian',
        sub_sample: bool = False,
        norm: bool = False,
        max_positions: int | None = 16384,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.mode = checks.choice(self, 'mode', mode, MODES)
        if max_positions is not None:
            checks.positive(self, 'max_positions', max_positions, ' or None')
        hidden = hidden_channels(self, reduction)
        self.sub_sample, self.max_positions = sub_sample, max_positions
        self.any_dims = not sub_sample
        self.scale = hidden**-0.5 if use_scale and mode == 'embedded_gaussian' else 1
        embedded = mode != 'gaussian'
        self.theta = nn.Conv2d(in_channels, hidden, 1) if embedded else None
        self.phi = nn.Conv2d(in_channels, hidden, 1) if embedded else None
        self.g = nn.Conv2d(in_channels, hidden, 1)
        pairwise = mode == 'concatenation'
        self.concat_project = nn.Conv2d(2 * hidden, 1, 1, bias=False) if pairwise else None
        self.conv_out = nn.Conv2d(hidden, in_channels, 1, bias=not norm)
        self.norm = batch_norm(self, in_channels, norm_cfg) if norm else None
        self.init_own()

    def init_own(self) -> None:
        for conv in (self.theta, self.phi, self.g):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
                nn.init.zeros_(conv.bias)
        if not self.warm_start:
            last = self.conv_out if self.norm is None else self.norm
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def attend(self, x: Tensor) -> Tensor:
        theta = x if self.theta is None else self.theta(x)
        phi = self._pooled(x if self.phi is None else self.phi(x))
        queries, keys, values = sequence(theta), sequence(phi), sequence(self._pooled(self.g(x)))
        if self.mode != 'dot_product':
            checks.pairs(self, x, queries.shape[1] * keys.shape[1], ADVICE)
        out = self.conv_out(like_map(self._taken(queries, keys, values), x))
        out = out if self.norm is None else self.norm(out)
        return x + out.to(x.dtype)

    def _taken(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(N, L, h), (N, M, h), (N, M, h) -> (N, L, h)."""
        values = values.to(queries.dtype)
        if self.mode == 'dot_product':
            return queries @ (keys.transpose(1, 2) @ (values / keys.shape[1]))
        if self.concat_project is None:
            return attend_to(queries, keys.to(queries.dtype), values, self.scale)
        # A product with both, one after the other, is the sum of one with each.
        ours, theirs = self.concat_project.weight.flatten().to(queries.dtype).chunk(2)
        likeness = (queries @ ours)[:, :, None] + (keys @ theirs)[:, None]
        return likeness.relu() @ (values / keys.shape[1])

    def _pooled(self, x: Tensor) -> Tensor:
        if not self.sub_sample:
            return x
        return F.max_pool2d(x, [2 if side > 1 else 1 for side in x.shape[2:]])
