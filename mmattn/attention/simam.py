"""SimAM: a gate per element without any parameter.

Paper: SimAM: A Simple, Parameter-Free Attention Module for Convolutional
Neural Networks, ICML 2021. Checked against ZjjConan/SimAM (no licence).

Deviations: on a map of one element the variance is 0, where the original
divides by zero.
"""

from torch import Tensor

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention
from mmattn.registry import MODELS


@MODELS.register_module()
class SimAM(Attention):
    """Gate from each element's distance to its channel's mean (inverse energy).

    Formula:
        d = (x - mean_hw(x))^2
        y = x * sigmoid(d / (4 (sum_hw(d) / (HW - 1) + lambda)) + 1/2)

    Args:
        in_channels: Channels C of the input; any number, nothing depends on it.
        e_lambda: Added to the variance (the paper's lambda), positive.
    """

    placement = 'before_norm'
    any_dims = True

    def __init__(self, in_channels: int, e_lambda: float = 1e-4, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        checks.require(self, e_lambda > 0, f'e_lambda must be positive, got {e_lambda!r}')
        self.e_lambda = e_lambda

    def attend(self, x: Tensor) -> Tensor:
        return kernels.simam(x, self.e_lambda)

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        return kernels.simam(x, self.e_lambda, scale)
