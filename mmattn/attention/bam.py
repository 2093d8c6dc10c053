"""BAM: bottleneck attention module.

Paper: BAM: Bottleneck Attention Module, BMVC 2018, arXiv:1807.06514. Checked
against Jongchan/attention-module (MIT).

Place: in the paper once behind each of the stages 1 to 3; here on a block's
output, where ``stages`` or ``at`` choose which.

Deviations: the whole map is pooled, where the original's window is as wide as the
map is high. At least one hidden channel.
"""

import re

from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import GateAttention, batch_norm, hidden_channels
from mmattn.kernels.primitive import seen_through
from mmattn.registry import MODELS

# The original's keys behind its prefixes -> ours.
NAMES = (
    (r'channel_att\.gate_c\.gate_c_fc_final', 'channel_out'),
    (r'channel_att\.gate_c\.gate_c_fc_(\d+)', 'channel_layers.{}.0'),
    (r'channel_att\.gate_c\.gate_c_bn_(\d+)', 'channel_layers.{}.1'),
    (r'spatial_att\.gate_s\.gate_s_conv_reduce0', 'reduce.0'),
    (r'spatial_att\.gate_s\.gate_s_bn_reduce0', 'reduce.1'),
    (r'spatial_att\.gate_s\.gate_s_conv_di_(\d+)', 'dilated.{}.0'),
    (r'spatial_att\.gate_s\.gate_s_bn_di_(\d+)', 'dilated.{}.1'),
    (r'spatial_att\.gate_s\.gate_s_conv_final', 'spatial_out'),
)


@MODELS.register_module()
class BAM(GateAttention):
    """One gate per element, the product of a channel branch and a spatial branch.

    Formula:
        c = W2 relu(BN(W1 mean_hw(x)))
        s = conv_1x1(D(D(relu(BN(conv_1x1(x)))))), D = relu(BN(conv_3x3(.))), dilated
        y = x * (1 + sigmoid(c * s))

    Args:
        reduction: C is divided by it in the hidden layers of both branches; positive.
        num_layers: Hidden layers of the channel branch, 1 or more.
        dilation_conv_num: Dilated convolutions of the spatial branch, 1 or more.
        dilation_val: Their dilation, positive.
    """

    def __init__(
        self,
        in_channels: int,
        reduction: int = 16,
        num_layers: int = 1,
        dilation_conv_num: int = 2,
        dilation_val: int = 4,
        warm_start: bool = False,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__(in_channels, warm_start)
        checks.positive(self, 'num_layers', num_layers)
        checks.positive(self, 'dilation_conv_num', dilation_conv_num)
        checks.positive(self, 'dilation_val', dilation_val)
        hidden = hidden_channels(self, reduction)

        def layer(channels: int, **options) -> nn.Sequential:
            conv = nn.Conv2d(channels, hidden, **options)
            return nn.Sequential(conv, batch_norm(self, hidden, norm_cfg), nn.ReLU(inplace=True))

        widths = [in_channels] + [hidden] * (num_layers - 1)
        self.channel_layers = nn.Sequential(*(layer(width, kernel_size=1) for width in widths))
        self.channel_out = nn.Conv2d(hidden, in_channels, 1)
        self.reduce = layer(in_channels, kernel_size=1)
        wide = dict(kernel_size=3, padding=dilation_val, dilation=dilation_val)
        self.dilated = nn.Sequential(*(layer(hidden, **wide) for _ in range(dilation_conv_num)))
        self.spatial_out = nn.Conv2d(hidden, 1, 1)

    @classmethod
    def own_name(cls, name: str) -> str | None:
        for pattern, new in NAMES:
            if match := re.match(pattern + r'\.', name):
                # Its norms of the channel branch count from 1.
                number = [int(n) - ('gate_c_bn' in pattern) for n in match.groups()]
                return f'{new.format(*number)}.{name[match.end() :]}'
        return name

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        means = kernels.mean(x)[:, :, None, None]
        channels = self.channel_out(self.channel_layers(means))
        places = self.spatial_out(self.dilated(self.reduce(x)))
        gate = (channels * places).sigmoid()
        # In its own memory where nothing is derived from it.
        alone = not gate.requires_grad and not seen_through(x)
        return dict(planes=gate.add_(1) if alone else 1 + gate)
