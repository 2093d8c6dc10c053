"""NAM: normalization-based attention.

Paper: NAM: Normalization-based Attention Module, NeurIPS 2021 workshop on
ImageNet, arXiv:2111.12419. Checked against Christian-lyc/NAM (outputs only; no
licence).

Place: on the block's output, as its code.

Deviations: where all weights of the norm are 0, so are their shares (the
original divides by 0). The paper's spatial form is in no code; the penalty on
the weights, part of the paper's loss, is the training's.
"""

from torch import Tensor, nn

from mmattn.attention.base import Attention, batch_norm
from mmattn.kernels.primitive import cast
from mmattn.registry import MODELS


@MODELS.register_module()
class NAM(Attention):
    """A gate per element from a norm whose weights say what their channels count for.

    Formula:
        y = x * sigmoid(w * BN(x)), w_c = |gamma_c| / sum_c |gamma_c| of that BN, a constant
        for the gradient

    Args:
        norm_cfg: mmcv's config of the norm layer; None is a BatchNorm. A backbone fills
            in its own kind of BatchNorm (SyncBN, ...).
    """

    any_dims = True
    detached = ('bn2.weight',)

    def __init__(
        self, in_channels: int, warm_start: bool = False, norm_cfg: dict | None = None
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.bn2: nn.Module = batch_norm(self, in_channels, norm_cfg)

    def attend(self, x: Tensor) -> Tensor:
        share = self.bn2.weight.detach().abs()
        share = share / share.sum().clamp_min(1e-30)
        # In place: neither the norm nor the product needs its result for the backward pass.
        gate = self.bn2(x).mul_(cast(share, x.dtype)[:, None, None]).sigmoid_()
        return x * cast(gate, x.dtype)
