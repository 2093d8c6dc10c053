"""SE: squeeze and excitation.

Paper: Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507.
Checked against the module of ZjjConan/SimAM's SE-ResNet (no bias; no licence).

Deviations: at least one hidden channel, where C // reduction would be 0.
mmpretrain's SEResNet has biases: ``bias=True``.
"""

from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention.base import GateAttention, Weights, hidden_channels, reduction_from
from mmattn.registry import MODELS


class Excitation(GateAttention):
    """Base of SE and its kin: a hidden layer turns one value per channel into its gate.

    Args:
        reduction: C is divided by it in the hidden layer; positive.
        bias: Whether the two layers have biases.
    """

    def __init__(
        self, in_channels: int, reduction: int, bias: bool = True, warm_start: bool = False
    ) -> None:
        super().__init__(in_channels, warm_start)
        hidden = hidden_channels(self, reduction)
        self.fc1 = nn.Linear(in_channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, in_channels, bias=bias)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(reduction=reduction_from(weights['fc1.weight']))

    def squeeze(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C), the global mean."""
        return kernels.mean(x)

    def excite(self, squeezed: Tensor) -> Tensor:
        """(..., C) -> (..., C), before the sigmoid."""
        return self.fc2(self.fc1(squeezed).relu())

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        return dict(channels=self.excite(self.squeeze(x)).sigmoid())


@MODELS.register_module()
class SE(Excitation):
    """Channel gate from the global mean through two fully connected layers.

    Formula:
        y = x * sigmoid(W2 relu(W1 mean_hw(x)))

    Args:
        reduction: C is divided by it in the hidden layer (paper: r = 16); positive.
        bias: Whether the two layers have biases.
    """

    any_dims = True
    original_keys = {
        'fc.0': 'fc1',
        'fc.2': 'fc2',
        'conv1.conv': 'fc1',
        'conv2.conv': 'fc2',
    }

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        bias: bool = False,
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, reduction, bias, warm_start)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(**super().arguments_from(channels, weights), bias='fc1.bias' in weights)
