"""SCSA: spatial and channel synergistic attention, SMSA and PCSA in sequence.

Paper: SCSA: Exploring the Synergistic Effects Between Spatial and Channel
Attention, Neurocomputing 2025, arXiv:2407.05128. Checked against
HZAI-ZJNU/SCSA.

The variants of the paper's table 1 are arguments: SMSA and PCSA alone,
``pcsa_first``, ``norm``, ``norm_first``, ``window_size=-1`` (no progressive
compression), ``head_num`` with ``channel_shuffle``, ``shared``, ``scale`` and
``group_kernel_sizes``.

Deviations from the original implementation: those of :class:`SMSA` and
:class:`PCSA`.
"""

import torch
from torch import Tensor

from mmattn import kernels
from mmattn.attention.base import Attention, GateAttention, Weights
from mmattn.attention.pcsa import PCSA
from mmattn.attention.smsa import SMSA
from mmattn.registry import MODELS


@MODELS.register_module()
class SCSA(GateAttention):
    """Spatial and channel synergistic attention: SMSA, then PCSA.

    Formula:
        y = PCSA(SMSA(x))

    Args:
        head_num, window_size, qkv_bias, down_sample_mode, attn_drop_ratio: See :class:`PCSA`.
        channel_shuffle, scale: See :class:`PCSA`.
        group_kernel_sizes, norm, norm_first, shared, norm_cfg: See :class:`SMSA`.
        gate_layer: 'sigmoid' or 'softmax', in both halves.
        pcsa_first: Run PCSA before SMSA.
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
            in_channels, group_kernel_sizes, gate_layer, norm, norm_first, shared, norm_cfg=norm_cfg
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

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        if self.pcsa_first:
            channels = self.pcsa.channel_gate(x)
            # The means of the map times this gate.
            strips = (strip * channels.unsqueeze(2) for strip in kernels.means(x))
            return dict(**self.smsa.strip_gates(*strips), channels=channels)
        gates = self.smsa.gates(x)
        return dict(**gates, channels=self.pcsa.channel_gate(x, **gates))

    def attend(self, x: Tensor) -> Tensor:
        if self._is_one_operator():
            return self._whole(x)
        if self.pcsa.channel_shuffle and self.pcsa_first:
            return self.smsa(self.pcsa(x))
        return self.pcsa.shuffle(super().attend(x))

    def attend_warm(self, x: Tensor, scale: Tensor) -> Tensor:
        if self._is_one_operator():
            return self._whole(x, scale)
        if self.pcsa.channel_shuffle:
            return Attention.attend_warm(self, x, scale)
        return super().attend_warm(x, scale)

    def _is_one_operator(self) -> bool:
        """Whether this is the form that the paper proposes, which one kernel computes."""
        smsa, pcsa = self.smsa, self.pcsa
        return (
            (smsa.norm, smsa.gate_layer, pcsa.down_sample_mode) == ('GN', 'sigmoid', 'avg_pool')
            and not (smsa.norm_first or self.pcsa_first or pcsa.channel_shuffle)
            and smsa.convs_w is None
            and pcsa.q.bias is None
            and not (pcsa.attn_drop_ratio and self.training)
        )

    def _whole(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        smsa, pcsa = self.smsa, self.pcsa
        rows, columns = [
            torch.sym_max(length // pcsa.window, 1) if pcsa.scale == 'positions' else 1
            for length in x.shape[2:]
        ]
        return kernels.scsa(
            x,
            [conv.weight for conv in smsa.convs],
            [conv.bias for conv in smsa.convs],
            *((norm.weight, norm.bias, norm.eps) for norm in (smsa.norm_h, smsa.norm_w, pcsa.norm)),
            (pcsa.q.weight, pcsa.k.weight, pcsa.v.weight),
            heads=pcsa.head_num,
            window=pcsa.window,
            factor=pcsa.factor(rows * columns),
            scale=scale,
        )
