"""ParallelPolarized and SequentialPolarized: polarized self-attention, PSA.

Paper: Polarized Self-Attention: Towards High-quality Pixel-wise Regression,
arXiv:2107.00782. Checked against DeLightCMU/PSA (Apache-2.0; its PSA_p and PSA_s); the
paper's form, which differs, against xmu-xiaoma666/External-Attention-pytorch.

Place: in a BasicBlock between its two convolutions; here where a block has its
inner position.

Deviations:
- Same function, less work: a mean of 1x1 convolutions is the 1x1 convolution of a
  mean, and a sum of them weighed by each image is one plane of the map; only
  the sequential form of the code needs a convolution of the whole map.
- At least one hidden channel.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, gated, softmax
from mmattn.attention.positions import attended_mean, weighed_channels
from mmattn.registry import MODELS

FORMS = ('code', 'paper')


class _Polarized(Attention):
    """Base of both: the gate of the channels, and that of the places."""

    original_keys = {
        'conv_q_right': 'channel_query',
        'conv_v_right': 'channel_value',
        'conv_up': 'channel_up',
        'conv_q_left': 'spatial_query',
        'conv_v_left': 'spatial_value',
        'ch_wq': 'channel_query',
        'ch_wv': 'channel_value',
        'ch_wz': 'channel_up',
        'ln': 'channel_norm',
        'sp_wq': 'spatial_query',
        'sp_wv': 'spatial_value',
    }
    placement = 'inner'
    any_dims = True

    def __init__(self, in_channels: int, form: str, warm_start: bool) -> None:
        super().__init__(in_channels, warm_start)
        self.form = checks.choice(self, 'form', form, FORMS)
        paper, half = form == 'paper', max(1, in_channels // 2)
        self.channel_query = nn.Conv2d(in_channels, 1, 1, bias=paper)
        self.channel_value = nn.Conv2d(in_channels, half, 1, bias=paper)
        self.spatial_query = nn.Conv2d(in_channels, half, 1, bias=paper)
        self.spatial_value = nn.Conv2d(in_channels, half, 1, bias=paper)
        if paper:
            self.channel_up: nn.Module = nn.Conv2d(half, in_channels, 1)
            self.channel_norm = nn.LayerNorm(in_channels)
        else:
            self.channel_up = self.make_up(half)
        self.init_own()

    def init_own(self) -> None:
        if self.form == 'code':
            for conv in self.children():
                if conv is not self.channel_up:
                    nn.init.kaiming_normal_(conv.weight, nonlinearity='relu')

    def make_up(self, half: int) -> nn.Module:
        """The layers from the pooled value to the logits of the channels, in the code."""
        raise NotImplementedError

    def channel_gate(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C)."""
        query = self.channel_query
        bias = x.new_zeros(1) if query.bias is None else query.bias
        pooled = attended_mean(x, kernels.combine(x, query.weight, bias))
        logits = self.channel_up(self.channel_value(pooled[:, :, None, None])).flatten(1)
        return (self.channel_norm(logits) if self.form == 'paper' else logits).sigmoid()

    def spatial_query_of(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, half)."""
        query = self.spatial_query(kernels.mean(x)[:, :, None, None]).flatten(1)
        return query.softmax(1) if self.form == 'paper' else query

    def spatial_logits(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W)."""
        query, value = self.spatial_query_of(x), self.spatial_value
        logits = weighed_channels(x, F.linear(query, value.weight.flatten(1).t()))
        if value.bias is None:
            return logits
        level = (query @ value.bias.to(query.dtype))[:, None, None, None]
        return logits + level.to(logits.dtype)


@MODELS.register_module()
class ParallelPolarized(_Polarized):
    """Channel gate and spatial gate side by side, each from a query pooled in the other.

    Formula:
        c = sigmoid(U sum over j of softmax_j(w x_j) V x_j)
        s = sigmoid(softmax over the places of (Q mean_hw(x)) . (T x))
        y = x * c + x * s
        form='paper': c = sigmoid(LN(U ...)), s = sigmoid(softmax(Q mean_hw(x)) . (T x))

    Args:
        form: 'code' is what the published checkpoints have, 'paper' what the paper says.
    """

    def __init__(self, in_channels: int, form: str = 'code', warm_start: bool = False) -> None:
        super().__init__(in_channels, form, warm_start)

    def make_up(self, half: int) -> nn.Module:
        return nn.Conv2d(half, self.in_channels, 1, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        return kernels.gate(x, **self._gates(x))

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        return kernels.gate(x, **self._gates(x), scale=scale)

    def _gates(self, x: Tensor) -> dict:
        logits = self.spatial_logits(x)
        if self.form == 'code':
            logits = softmax(logits.flatten(2), 2).reshape(logits.shape)
        return dict(channels=self.channel_gate(x), planes=logits.sigmoid(), join='add')


@MODELS.register_module()
class SequentialPolarized(_Polarized):
    """Channel gate, then spatial gate, each from a query pooled in the other.

    Formula:
        u = x * sigmoid(U2 relu(LN(U1 sum over j of softmax_j(w x_j) V x_j)))
        y = u * sigmoid((Q mean_hw(u)) . softmax over the places of (T u))
        form='paper': u = x * sigmoid(LN(U ...)), y = u * sigmoid(softmax(Q mean_hw(u)) . (T u))

    Args:
        form: 'code' is what the published checkpoints have, 'paper' what the paper says.
    """

    def __init__(self, in_channels: int, form: str = 'code', warm_start: bool = False) -> None:
        super().__init__(in_channels, form, warm_start)

    def make_up(self, half: int) -> nn.Module:
        hidden = max(1, half // 4)
        return nn.Sequential(
            nn.Conv2d(half, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden, self.in_channels, 1),
        )

    def attend(self, x: Tensor) -> Tensor:
        x = kernels.gate(x, channels=self.channel_gate(x))
        return gated(x, self.spatial_logits(x).sigmoid())

    def spatial_logits(self, x: Tensor) -> Tensor:
        if self.form == 'paper':
            return super().spatial_logits(x)
        rows = softmax(self.spatial_value(x).flatten(2), 2)  # (N, half, H W)
        logits = self.spatial_query_of(x)[:, None] @ rows
        return logits.reshape(x.shape[0], 1, *x.shape[2:])
