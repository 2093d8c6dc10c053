"""PCSA: progressive channel-wise self-attention, the channel half of SCSA.

Paper: SCSA: Exploring the Synergistic Effects Between Spatial and Channel
Attention, Neurocomputing 2025, arXiv:2407.05128. Checked against
HZAI-ZJNU/SCSA.

Deviations from the original implementation:
- Same function, less work: the mean over the windows, which the original takes
  after the product with the C x C attention matrix, is taken before it (it
  commutes with the matrix).
- A map smaller than a window is pooled as a whole (the original fails), and the
  mode 'recombination' works (the original calls a method that does not exist).
- Unknown modes are refused.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention, GateAttention, group_norm
from mmattn.attention.pooling import windows
from mmattn.kernels.primitive import seen_through
from mmattn.registry import MODELS

GATES = ('sigmoid', 'softmax')
SCALES = ('channels', 'positions')
LARGEST = 2**31 - 1
DOWN_SAMPLE_MODES = ('avg_pool', 'max_pool', 'recombination')


@MODELS.register_module()
class PCSA(GateAttention):
    """Progressive channel-wise self-attention, the channel half of SCSA.

    Window means, normalised, give a query, a key and a value per channel by a
    scaling of their own; self-attention between the channels and a mean over
    the windows make one gate per channel (paper, section 3.2).

    Formula:
        p = GN(windowmean_7x7(x)); q, k, v = s_q p, s_k p, s_v p
        y = x * sigmoid(mean_hw(softmax(q k^T / sqrt(C)) v))

    Args:
        head_num: Heads of the self-attention; divides C.
        window_size: Side of the pooling windows; -1 pools the whole map.
        qkv_bias: Whether query, key and value have biases.
        down_sample_mode: 'avg_pool', 'max_pool' or 'recombination' (the pixels
            of a window become channels and a 1x1 convolution reduces them).
        attn_drop_ratio: Dropout of the attention matrix, in [0, 1).
        gate_layer: 'sigmoid' or 'softmax' (along the channels).
        channel_shuffle: Shuffle the channels of the output over the heads, so that
            the next layer mixes them (for ``head_num`` above 1).
        scale: Scale of the attention's logits, by the square root of the
            'channels' of a head or of the 'positions' (windows).
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        head_num: int = 1,
        window_size: int = 7,
        qkv_bias: bool = False,
        down_sample_mode: str = 'avg_pool',
        attn_drop_ratio: float = 0.0,
        gate_layer: str = 'sigmoid',
        channel_shuffle: bool = False,
        scale: str = 'channels',
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        divisors = [n for n in range(1, in_channels + 1) if in_channels % n == 0]
        problem = f'head_num={head_num!r} does not divide in_channels={in_channels}'
        valid = [n for n in divisors if n <= 64]
        divides = isinstance(head_num, int) and head_num in divisors
        checks.require(self, divides, f'{problem}; valid: {valid}')
        if window_size != -1:
            checks.positive(self, 'window_size', window_size, ', or -1 for the whole map')
        problem = f'attn_drop_ratio must be in [0, 1), got {attn_drop_ratio!r}'
        checks.require(self, 0 <= attn_drop_ratio < 1, problem)
        checks.choice(self, 'down_sample_mode', down_sample_mode, DOWN_SAMPLE_MODES)
        checks.choice(self, 'gate_layer', gate_layer, GATES)
        if down_sample_mode == 'recombination':
            problem = "down_sample_mode='recombination' needs a positive window_size, got -1"
            checks.require(self, window_size != -1, problem)
            self.conv_d = nn.Conv2d(in_channels * window_size**2, in_channels, 1, bias=False)
        mixes = head_num > 1 or not channel_shuffle
        checks.require(self, mixes, 'channel_shuffle=True needs head_num above 1, got 1')
        self.channel_shuffle = channel_shuffle
        self.scale = checks.choice(self, 'scale', scale, SCALES)
        self.head_num = head_num
        self.window_size = window_size
        self.down_sample_mode = down_sample_mode
        self.attn_drop_ratio = attn_drop_ratio
        self.gate_layer = gate_layer
        self.norm = nn.GroupNorm(1, in_channels)
        self.q = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)
        self.k = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)
        self.v = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        return dict(channels=self.channel_gate(x))

    def channel_gate(
        self, x: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W), or that times its gates (N, C, H) and (N, C, W) -> (N, C)."""
        pooled = group_norm(self.norm, self._compress(x, rows, columns)).flatten(2)
        # A single window may have any stride; torch's fused attention wants one of 1.
        pooled = pooled.clone(memory_format=torch.contiguous_format)
        heads = self.head_num, self.in_channels // self.head_num
        query, key, value = [
            _scaled(layer, pooled).unflatten(1, heads) for layer in (self.q, self.k, self.v)
        ]
        logits = _attend(
            query,
            key,
            value.mean(3, keepdim=True),
            self.attn_drop_ratio if self.training else 0.0,
            self.factor(pooled.shape[2]),
        )
        return logits.sigmoid() if self.gate_layer == 'sigmoid' else logits.softmax(1)

    def factor(self, positions: int) -> float:
        """What the attention's logits are multiplied with, over so many windows."""
        channels = self.in_channels // self.head_num
        return (channels if self.scale == 'channels' else positions) ** -0.5

    def attend(self, x: Tensor) -> Tensor:
        return self.shuffle(super().attend(x))

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        if self.channel_shuffle:
            return Attention.attend_warm(self, x, scale)
        return super().attend_warm(x, scale)

    def shuffle(self, x: Tensor) -> Tensor:
        """With ``channel_shuffle``, the channels in the order in which the heads mix."""
        if not self.channel_shuffle:
            return x
        return x.unflatten(1, (self.head_num, -1)).transpose(1, 2).flatten(1, 2)

    @property
    def window(self) -> int:
        """Side of the windows; one larger than any map is the whole map."""
        return LARGEST if self.window_size == -1 else self.window_size

    def _compress(
        self, x: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) -> (N, C, H // window, W // window), at least 1 x 1."""
        if self.down_sample_mode == 'avg_pool':
            return kernels.window_means(x, rows, columns, size=self.window)
        if rows is not None:
            x = kernels.gate(x, rows=rows, columns=columns)
        if self.down_sample_mode == 'max_pool':
            if self.window_size == -1:
                return x.amax((2, 3), keepdim=True)
            return windows(x, self.window_size, -torch.inf).amax((3, 5))
        pixels = windows(x, self.window_size, 0.0).permute(0, 1, 3, 5, 2, 4)
        return self.conv_d(pixels.flatten(1, 3))


def _scaled(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A depthwise 1x1 convolution of (N, C, P)."""
    weight = layer.weight.flatten()[:, None].to(x.dtype)
    return x * weight if layer.bias is None else x * weight + layer.bias[:, None].to(x.dtype)


def _attend(query: Tensor, key: Tensor, value: Tensor, dropout: float, factor: float) -> Tensor:
    """(N, heads, C / heads, P) twice and (N, heads, C / heads, 1) -> (N, C)."""
    if dropout:
        out = F.scaled_dot_product_attention(query, key, value, None, dropout, scale=factor)
    elif seen_through(query):
        out = _softmax_product(query, key, value, factor)
    else:
        out = _Attend.apply(query, key, value, factor)
    return out.flatten(1)


def _softmax_product(query: Tensor, key: Tensor, value: Tensor, factor: float) -> Tensor:
    return (query * factor @ key.transpose(2, 3)).softmax(3) @ value


class _Attend(torch.autograd.Function):
    """:func:`_softmax_product` that keeps no C x C matrix, with a second derivative."""

    @staticmethod
    def forward(ctx, query, key, value, factor):
        # torch's fused attention is made for long vectors; here it pays for one number only.
        if query.shape[3] == 1:
            out = F.scaled_dot_product_attention(query, key, value, scale=factor)
        else:
            out = _softmax_product(query, key, value, factor)
        ctx.save_for_backward(query, key, value, out)
        ctx.factor = factor
        return out

    @staticmethod
    def backward(ctx, grad):
        *inputs, out = ctx.saved_tensors
        if torch.is_grad_enabled() or inputs[0].shape[3] == 1:
            return *_derived(inputs, ctx.factor, grad, ctx.needs_input_grad), None
        query, key, value = inputs
        grad, out = grad.to(query.dtype), out.to(query.dtype)
        matrix = (query * ctx.factor @ key.transpose(2, 3)).softmax(3)
        to_value = matrix.transpose(2, 3) @ grad
        # That of a softmax with one value a row: p_ij (v_j - out_i) of the row's gradient.
        to_logits = matrix.mul_(value.transpose(2, 3) - out).mul_(grad * ctx.factor)
        return to_logits @ key, to_logits.transpose(2, 3) @ query, to_value, None


def _derived(
    inputs: list[Tensor], factor: float, grad: Tensor, needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients by autograd; for create_graph=True of a formula with a second derivative."""
    twice = torch.is_grad_enabled()
    if not twice:
        inputs = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        if twice:
            out = _softmax_product(*inputs, factor)
        else:
            out = F.scaled_dot_product_attention(*inputs, scale=factor)
        wanted = [x for x, need in zip(inputs, needed, strict=False) if need]
        found = iter(torch.autograd.grad(out, wanted, grad.to(out.dtype), create_graph=twice))
    return [next(found) if need else None for need in needed[:3]]
