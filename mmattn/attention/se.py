"""SE: squeeze and excitation.

Paper: Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507.
Checked against the module of ZjjConan/SimAM's SE-ResNet (no bias).

Deviations: at least one hidden channel, where C // reduction would be 0.
mmpretrain's SEResNet has biases: ``bias=True``.
"""

from torch import Tensor, nn

from mmattn.attention.base import Attention, Weights, gated, hidden_channels, reduction_from
from mmattn.registry import MODELS


@MODELS.register_module()
class SE(Attention):
    """Channel gate from the global mean through two fully connected layers.

    Formula:
        y = x * sigmoid(W2 relu(W1 mean_hw(x)))

    Args:
        in_channels: Channels C of the input.
        reduction: C is divided by it in the hidden layer (paper: r = 16).
        bias: Whether the two layers have biases.
        warm_start: Start as the identity, see :class:`Attention`.

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: If ``in_channels`` or ``reduction`` is not positive.
    """

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
        super().__init__(in_channels, warm_start)
        hidden = hidden_channels(self, reduction)
        self.fc1 = nn.Linear(in_channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, in_channels, bias=bias)

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        return dict(reduction=reduction_from(weights['fc1.weight']), bias='fc1.bias' in weights)

    def attend(self, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3))  # (N, C)
        gate = self.fc2(self.fc1(squeezed).relu()).sigmoid()
        return gated(x, gate[:, :, None, None])
