"""SMSA: shareable multi-semantic spatial attention, the spatial half of SCSA.

Paper: SCSA: Exploring the Synergistic Effects Between Spatial and Channel
Attention, Neurocomputing 2025, arXiv:2407.05128. Checked against
HZAI-ZJNU/SCSA.

Deviations from the original implementation:
- Same function, less work: the four depthwise convolutions of both directions
  are one convolution with zero-padded kernels.
- Channels that four does not divide are refused (the original's check passes
  them), and so are unknown modes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, batch_norm, group_norm
from mmattn.registry import MODELS

GATES = ('sigmoid', 'softmax')
NORMS = ('GN', 'BN', 'LN', 'none')


@MODELS.register_module()
class SMSA(GateAttention):
    """Shareable multi-semantic spatial attention, the spatial half of SCSA.

    The channels are split into groups; each convolves the row and the column
    means with a kernel of its own size, the same one in both directions, and a
    GroupNorm over the groups and a gate make one factor per row and one per
    column (paper, section 3.1).

    Formula:
        g_h = sigmoid(GN(dwconv_3,5,7,9(mean_w(x)))), g_w likewise with mean_h(x)
        y = x * g_h * g_w

    Args:
        group_kernel_sizes: Odd kernel size of each group of channels; their number
            divides C.
        gate_layer: 'sigmoid' or 'softmax' (along the positions).
        norm: 'GN' over the groups, 'BN', 'LN' over the channels of a position, or
            'none'.
        norm_first: Normalise before the convolutions instead of after them.
        shared: Whether both directions share the convolutions.
        norm_cfg: mmcv's config of the layers of norm='BN'. A backbone fills in its
            own kind of BatchNorm (SyncBN, ...).
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
        sizes = tuple(group_kernel_sizes)
        groups = len(sizes)
        problem = 'group_kernel_sizes is empty; give at least one kernel size'
        checks.require(self, groups > 0, problem)
        problem = f'is not divisible by the {groups} groups of group_kernel_sizes={sizes}'
        checks.multiple(self, groups, problem)
        for size in sizes:
            checks.odd(self, 'group_kernel_sizes', size)
        self.gate_layer = checks.choice(self, 'gate_layer', gate_layer, GATES)
        checks.choice(self, 'norm', norm, NORMS)
        self.norm = norm
        self.norm_first = norm_first
        self.convs = _branches(in_channels, sizes)
        self.convs_w = None if shared else _branches(in_channels, sizes)
        self.norm_h = self._make_norm(norm, groups, norm_cfg)
        self.norm_w = self._make_norm(norm, groups, norm_cfg)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        return self.strip_gates(*kernels.means(x))

    def strip_gates(self, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
        """Means of rows (N, C, H) and columns (N, C, W) -> their gates, of the same shapes."""
        height = rows.shape[2]
        if self.norm_first:
            rows, columns = _normalise(self.norm_h, rows), _normalise(self.norm_w, columns)
        if self.convs_w is None:
            # One convolution for both: zeros between them act as the padding.
            gap = max(conv.kernel_size[0] for conv in self.convs) // 2
            strip = _convolve(self.convs, torch.cat((F.pad(rows, (0, gap)), columns), 2))
            rows, columns = strip[:, :, :height], strip[:, :, height + gap :]
        else:
            rows, columns = _convolve(self.convs, rows), _convolve(self.convs_w, columns)
        if not self.norm_first:
            rows, columns = _normalise(self.norm_h, rows), _normalise(self.norm_w, columns)
        return dict(rows=self._gate(rows), columns=self._gate(columns))

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
