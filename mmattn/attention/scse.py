"""CSE, SSE and SCSE: channel, spatial and concurrent squeeze and excitation.

Paper: Concurrent Spatial and Channel Squeeze & Excitation in Fully
Convolutional Networks, MICCAI 2018, arXiv:1803.02579. Checked against
ai-med/squeeze_and_excitation (MIT).

Deviations: at least one hidden channel. The paper adds the two branches of
SCSE, its code takes their maximum; the code's way is the default.
"""

from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention
from mmattn.attention.se import Excitation
from mmattn.registry import MODELS

JOINS = ('max', 'add')


@MODELS.register_module()
class CSE(Excitation):
    """Channel gate from the global mean; SE with biases and a wider hidden layer.

    Formula:
        y = x * sigmoid(W2 relu(W1 mean_hw(x) + b1) + b2)

    Args:
        reduction: C is divided by it in the hidden layer; positive.
    """

    any_dims = True

    def __init__(self, in_channels: int, reduction: int = 2, warm_start: bool = False) -> None:
        super().__init__(in_channels, reduction, warm_start=warm_start)


@MODELS.register_module()
class SSE(GateAttention):
    """Spatial gate from a 1x1 convolution to one plane.

    Formula:
        y = x * sigmoid(conv_1x1(x)), one plane
    """

    any_dims = True

    def __init__(self, in_channels: int, warm_start: bool = False) -> None:
        super().__init__(in_channels, warm_start)
        self.conv = nn.Conv2d(in_channels, 1, 1)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        logits = kernels.combine(x, self.conv.weight, self.conv.bias)
        return dict(planes=logits.sigmoid())


@MODELS.register_module()
class SCSE(GateAttention):
    """CSE and SSE side by side.

    Formula:
        y = max(CSE(x), SSE(x))

    Args:
        reduction: C is divided by it in the hidden layer of the channel gate; positive.
        join: 'max' takes the larger of both outputs, 'add' their sum.
    """

    any_dims = True
    original_keys = {'cSE': 'cse', 'sSE': 'sse'}

    def __init__(
        self,
        in_channels: int,
        reduction: int = 2,
        join: str = 'max',
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.join = checks.choice(self, 'join', join, JOINS)
        self.cse = CSE(in_channels, reduction)
        self.sse = SSE(in_channels)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        return dict(**self.cse.gates(x), **self.sse.gates(x), join=self.join)
