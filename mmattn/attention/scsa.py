"""SCSA: spatial and channel synergistic attention, and its halves SMSA and PCSA.

Paper: SCSA: Exploring the Synergistic Effects Between Spatial and Channel
Attention, Neurocomputing 2025, arXiv:2407.05128. Checked against
HZAI-ZJNU/SCSA.

The variants of the paper's table 1 are arguments: SMSA and PCSA alone,
``pcsa_first``, ``norm``, ``norm_first``, ``window_size=-1`` (no progressive
compression), ``head_num`` with ``channel_shuffle``, ``shared``, ``scale`` and
``group_kernel_sizes``.

Deviations from the original implementation:
- Same function, less work: the four depthwise convolutions of both directions
  are one convolution with zero-padded kernels; the mean over the windows, which
  the original takes after the product with the C x C attention matrix, is taken
  before it (it commutes with the matrix).
- Channels that four does not divide are refused (the original's check passes
  them), and so are unknown modes.
- A map smaller than a window is pooled as a whole (the original fails), and the
  mode 'recombination' works (the original calls a method that does not exist).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.attention.base import (
    Attention,
    Weights,
    batch_norm,
    check_choice,
    check_odd,
    gated,
    group_norm,
    nearest_multiples,
)
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidValue

GATES = ('sigmoid', 'softmax')
NORMS = ('GN', 'BN', 'LN', 'none')
SCALES = ('channels', 'positions')
DOWN_SAMPLE_MODES = ('avg_pool', 'max_pool', 'recombination')
# torch 2.1 has neither this nor dynamic sizes in torch.export.
CAN_EXPORT = hasattr(torch.compiler, 'is_compiling')


@MODELS.register_module()
class SMSA(Attention):
    """Shareable multi-semantic spatial attention, the spatial half of SCSA.

    The channels are split into groups; each convolves the row and the column
    means with a kernel of its own size, the same one in both directions, and a
    GroupNorm over the groups and a gate make one factor per row and one per
    column (paper, section 3.1).

    Formula:
        g_h = sigmoid(GN(dwconv_3,5,7,9(mean_w(x)))), g_w likewise with mean_h(x)
        y = x * g_h * g_w

    Args:
        in_channels: Channels C of the input.
        group_kernel_sizes: Odd kernel size of each group of channels.
        gate_layer: 'sigmoid' or 'softmax' (along the positions).
        norm: 'GN' over the groups, 'BN', 'LN' over the channels of a position, or
            'none'.
        norm_first: Normalise before the convolutions instead of after them.
        shared: Whether both directions share the convolutions.
        warm_start: Start as the identity, see :class:`Attention`.
        norm_cfg: mmcv's config of the layers of norm='BN'. A backbone fills in its
            own kind of BatchNorm (SyncBN, ...).

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: If the number of groups does not divide C, a kernel size
            is not odd, or the gate is unknown.
    """

    placement = 'inner'
    original_keys = {
        'local_dwc': 'convs.0',
        'global_dwc_s': 'convs.1',
        'global_dwc_m': 'convs.2',
        'global_dwc_l': 'convs.3',
    }

    def __init__(
        self,
        in_channels: int,
        group_kernel_sizes: tuple[int, ...] = (3, 5, 7, 9),
        gate_layer: str = 'sigmoid',
        norm: str = 'GN',
        norm_first: bool = False,
        shared: bool = True,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        groups = len(group_kernel_sizes)
        if groups == 0:
            raise InvalidValue('SMSA: group_kernel_sizes is empty; give at least one kernel size')
        if in_channels % groups:
            raise InvalidValue(
                f'SMSA: in_channels={in_channels} is not divisible by the {groups} groups of '
                f'group_kernel_sizes={tuple(group_kernel_sizes)}; '
                f'{nearest_multiples(in_channels, groups)}'
            )
        for size in group_kernel_sizes:
            check_odd(self, 'group_kernel_sizes', size)
        self.gate_layer = check_choice(self, 'gate_layer', gate_layer, GATES)
        check_choice(self, 'norm', norm, NORMS)
        self.norm_first = norm_first
        self.convs = _branches(in_channels, group_kernel_sizes)
        self.convs_w = None if shared else _branches(in_channels, group_kernel_sizes)
        self.norm_h = self._make_norm(norm, groups, norm_cfg)
        self.norm_w = self._make_norm(norm, groups, norm_cfg)

    def attend(self, x: Tensor) -> Tensor:
        rows, columns = x.mean(3), x.mean(2)  # (N, C, H), (N, C, W)
        if self.norm_first:
            rows, columns = _normalise(self.norm_h, rows), _normalise(self.norm_w, columns)
        if self.convs_w is None:
            height = x.shape[2]
            # One convolution for both: zeros between them act as the padding.
            gap = max(conv.kernel_size[0] for conv in self.convs) // 2
            strip = _convolve(self.convs, torch.cat((F.pad(rows, (0, gap)), columns), 2))
            rows, columns = strip[:, :, :height], strip[:, :, height + gap :]
        else:
            rows, columns = _convolve(self.convs, rows), _convolve(self.convs_w, columns)
        if not self.norm_first:
            rows, columns = _normalise(self.norm_h, rows), _normalise(self.norm_w, columns)
        return gated(x, self._gate(rows)[:, :, :, None], self._gate(columns)[:, :, None, :])

    def _make_norm(self, norm: str, groups: int, norm_cfg: dict | None) -> nn.Module | None:
        if norm == 'GN':
            return nn.GroupNorm(groups, self.in_channels)
        if norm == 'BN':
            return batch_norm(self, self.in_channels, norm_cfg)
        return nn.LayerNorm(self.in_channels) if norm == 'LN' else None

    def _gate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.gate_layer == 'sigmoid' else logits.softmax(2)


def _branches(channels: int, sizes: tuple[int, ...]) -> nn.ModuleList:
    width = channels // len(sizes)
    return nn.ModuleList(
        nn.Conv1d(width, width, size, padding=size // 2, groups=width) for size in sizes
    )


def _convolve(branches: nn.ModuleList, strip: Tensor) -> Tensor:
    """All branches as one depthwise convolution, smaller kernels padded with zeros."""
    size = max(conv.kernel_size[0] for conv in branches)
    weights = []
    for conv in branches:
        pad = (size - conv.kernel_size[0]) // 2
        weights.append(F.pad(conv.weight, (pad, pad)))
    bias = torch.cat([conv.bias for conv in branches])
    return F.conv1d(strip, torch.cat(weights), bias, padding=size // 2, groups=strip.shape[1])


def _normalise(norm: nn.Module | None, strip: Tensor) -> Tensor:
    """(N, C, L) -> (N, C, L)."""
    if norm is None:
        return strip
    if isinstance(norm, nn.LayerNorm):
        return norm(strip.transpose(1, 2)).transpose(1, 2)
    if isinstance(norm, nn.GroupNorm):
        return group_norm(norm, strip)
    return norm(strip[:, :, :, None])[:, :, :, 0]


@MODELS.register_module()
class PCSA(Attention):
    """Progressive channel-wise self-attention, the channel half of SCSA.

    Window means, normalised, give a query, a key and a value per channel by a
    scaling of their own; self-attention between the channels and a mean over
    the windows make one gate per channel (paper, section 3.2).

    Formula:
        p = GN(windowmean_7x7(x)); q, k, v = s_q p, s_k p, s_v p
        y = x * sigmoid(mean_hw(softmax(q k^T / sqrt(C)) v))

    Args:
        in_channels: Channels C of the input.
        head_num: Heads of the self-attention.
        window_size: Side of the pooling windows; -1 pools the whole map.
        qkv_bias: Whether query, key and value have biases.
        down_sample_mode: 'avg_pool', 'max_pool' or 'recombination' (the pixels
            of a window become channels and a 1x1 convolution reduces them).
        attn_drop_ratio: Dropout of the attention matrix.
        gate_layer: 'sigmoid' or 'softmax' (along the channels).
        channel_shuffle: Shuffle the channels of the output over the heads, so that
            the next layer mixes them (for ``head_num`` above 1).
        scale: Scale of the attention's logits, by the square root of the
            'channels' of a head or of the 'positions' (windows).
        warm_start: Start as the identity, see :class:`Attention`.

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: If ``head_num`` does not divide C, or an argument is out of
            its range.
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
        if not isinstance(head_num, int) or head_num < 1 or in_channels % head_num:
            raise InvalidValue(
                f'{type(self).__name__}: head_num={head_num!r} does not divide '
                f'in_channels={in_channels}; valid: '
                f'{[n for n in range(1, min(in_channels, 64) + 1) if in_channels % n == 0]}'
            )
        if not isinstance(window_size, int) or (window_size < 1 and window_size != -1):
            raise InvalidValue(
                f'{type(self).__name__}: window_size must be a positive integer, or -1 for the '
                f'whole map, got {window_size!r}'
            )
        if not 0 <= attn_drop_ratio < 1:
            raise InvalidValue(
                f'{type(self).__name__}: attn_drop_ratio must be in [0, 1), got {attn_drop_ratio!r}'
            )
        check_choice(self, 'down_sample_mode', down_sample_mode, DOWN_SAMPLE_MODES)
        check_choice(self, 'gate_layer', gate_layer, GATES)
        if down_sample_mode == 'recombination':
            if window_size == -1:
                raise InvalidValue(
                    f"{type(self).__name__}: down_sample_mode='recombination' needs a positive "
                    f'window_size, got -1'
                )
            self.conv_d = nn.Conv2d(in_channels * window_size**2, in_channels, 1, bias=False)
        if channel_shuffle and head_num == 1:
            raise InvalidValue(
                f'{type(self).__name__}: channel_shuffle=True needs head_num above 1, got 1'
            )
        self.channel_shuffle = channel_shuffle
        self.scale = check_choice(self, 'scale', scale, SCALES)
        self.head_num = head_num
        self.window_size = window_size
        self.down_sample_mode = down_sample_mode
        self.attn_drop_ratio = attn_drop_ratio
        self.gate_layer = gate_layer
        self.norm = nn.GroupNorm(1, in_channels)
        self.q = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)
        self.k = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)
        self.v = nn.Conv2d(in_channels, in_channels, 1, groups=in_channels, bias=qkv_bias)

    def attend(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]
        pooled = group_norm(self.norm, self._compress(x))  # (N, C, H', W')
        query, key, value = [
            layer(pooled).reshape(batch, self.head_num, channels // self.head_num, -1)
            for layer in (self.q, self.k, self.v)
        ]
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value.mean(3, keepdim=True),
            dropout_p=self.attn_drop_ratio if self.training else 0.0,
            scale=(query.shape[2] if self.scale == 'channels' else query.shape[3]) ** -0.5,
        )
        logits = attended.reshape(batch, channels, 1, 1)
        gate = logits.sigmoid() if self.gate_layer == 'sigmoid' else logits.softmax(1)
        out = gated(x, gate)
        if self.channel_shuffle:
            heads = out.unflatten(1, (self.head_num, -1))
            out = heads.transpose(1, 2).flatten(1, 2)
        return out

    def _compress(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H // window, W // window), at least 1 x 1."""
        size = self.window_size
        if size == -1:
            pool = x.mean if self.down_sample_mode == 'avg_pool' else x.amax
            return pool((2, 3), keepdim=True)
        if self.down_sample_mode == 'avg_pool':
            return _window_mean(x, size)
        if self.down_sample_mode == 'max_pool':
            return _windows(x, size, -torch.inf).amax((3, 5))
        return self.conv_d(_windows(x, size, 0.0).permute(0, 1, 3, 5, 2, 4).flatten(1, 3))


def _window_mean(x: Tensor, size: int) -> Tensor:
    if _exporting():
        # torch.export ties a pooling to the windows that fit into its example.
        rows, columns = (_mean_matrix(length, size, x) for length in x.shape[2:])
        return rows @ (x @ columns.transpose(0, 1))
    return F.avg_pool2d(x, [min(length, size) for length in x.shape[2:]])


def _mean_matrix(length: int, size: int, like: Tensor) -> Tensor:
    """Means over windows of ``size`` of ``length`` values, as a (windows, length) matrix."""
    windows = torch.arange(torch.sym_max(length // size, 1), device=like.device)
    inside = (torch.arange(length, device=like.device) // size == windows[:, None]).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def _windows(x: Tensor, size: int, fill: float) -> Tensor:
    """(N, C, H, W) -> (N, C, H', size, W', size), without a branch on H or W.

    H' is H // size, or 1 on a map smaller than a window, which is filled up.
    """
    larger = torch.sym_max if _exporting() else max
    offsets = torch.arange(size, device=x.device)
    rows, columns = [
        torch.arange(larger(length // size, 1), device=x.device)[:, None] * size + offsets
        for length in x.shape[2:]
    ]
    return F.pad(x, (0, size - 1, 0, size - 1), value=fill)[:, :, rows][..., columns]


def _exporting() -> bool:
    """Whether sizes are symbols on which Python's min and max would decide once for all."""
    return CAN_EXPORT and torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


@MODELS.register_module()
class SCSA(Attention):
    """Spatial and channel synergistic attention: SMSA, then PCSA.

    Formula:
        y = PCSA(SMSA(x))

    Args:
        in_channels: Channels C of the input.
        head_num: Heads of the channel self-attention.
        window_size: Side of the pooling windows; -1 pools the whole map.
        group_kernel_sizes: Odd kernel size of each group of channels.
        qkv_bias: Whether query, key and value have biases.
        down_sample_mode: 'avg_pool', 'max_pool' or 'recombination'.
        attn_drop_ratio: Dropout of the attention matrix.
        gate_layer: 'sigmoid' or 'softmax', in both halves.
        norm, norm_first, shared: See :class:`SMSA`.
        channel_shuffle, scale: See :class:`PCSA`.
        pcsa_first: Run PCSA before SMSA.
        warm_start: Start as the identity, see :class:`Attention`.
        norm_cfg: See :class:`SMSA`.

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        ValueError: If the channels are not divisible by the groups or heads,
            or an argument is out of its range; see :class:`SMSA` and
            :class:`PCSA`.
    """

    placement = 'inner'
    original_keys = {
        **{theirs: f'smsa.{ours}' for theirs, ours in SMSA.original_keys.items()},
        **{name: f'smsa.{name}' for name in ('norm_h', 'norm_w')},
        **{name: f'pcsa.{name}' for name in ('norm', 'q', 'k', 'v', 'conv_d')},
    }

    def __init__(
        self,
        in_channels: int,
        head_num: int = 1,
        window_size: int = 7,
        group_kernel_sizes: tuple[int, ...] = (3, 5, 7, 9),
        qkv_bias: bool = False,
        down_sample_mode: str = 'avg_pool',
        attn_drop_ratio: float = 0.0,
        gate_layer: str = 'sigmoid',
        norm: str = 'GN',
        norm_first: bool = False,
        shared: bool = True,
        channel_shuffle: bool = False,
        scale: str = 'channels',
        pcsa_first: bool = False,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        self.smsa = SMSA(
            in_channels,
            group_kernel_sizes,
            gate_layer,
            norm,
            norm_first,
            shared,
            norm_cfg=norm_cfg,
        )
        self.pcsa = PCSA(
            in_channels,
            head_num,
            window_size,
            qkv_bias,
            down_sample_mode,
            attn_drop_ratio,
            gate_layer,
            channel_shuffle,
            scale,
        )
        self.pcsa_first = pcsa_first

    @classmethod
    def arguments_from(cls, channels: int, weights: Weights) -> dict:
        kernels = [weights['smsa.convs.0.weight'].shape[-1]]
        while (name := f'smsa.convs.{len(kernels)}.weight') in weights:
            kernels.append(weights[name].shape[-1])
        arguments = dict(group_kernel_sizes=tuple(kernels), qkv_bias='pcsa.q.bias' in weights)
        if 'pcsa.conv_d.weight' in weights:
            window = round((weights['pcsa.conv_d.weight'].shape[1] / channels) ** 0.5)
            arguments.update(down_sample_mode='recombination', window_size=window)
        return arguments

    def attend(self, x: Tensor) -> Tensor:
        if self.pcsa_first:
            return self.smsa(self.pcsa(x))
        return self.pcsa(self.smsa(x))
