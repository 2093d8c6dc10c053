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

from torch import Tensor

from mmattn.attention.base import Attention, Weights
from mmattn.attention.pcsa import PCSA
from mmattn.attention.smsa import SMSA
from mmattn.registry import MODELS


@MODELS.register_module()
class SCSA(Attention):
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

    def attend(self, x: Tensor) -> Tensor:
        if self.pcsa_first:
            return self.smsa(self.pcsa(x))
        return self.pcsa(self.smsa(x))
