"""PSA: pyramid squeeze attention, of EPSANet.

Paper: EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional
Neural Network, ACCV 2022, arXiv:2105.14447. Checked against murufeng/EPSANet (MIT).

Place: instead of the 3x3 convolution of a block; here behind it.

Deviations: no stride, and as many channels out as in; ``conv_groups='auto'`` takes
fewer groups where the paper's do not divide the channels. As in the original, whose
checkpoints need it, the branches follow each other in reverse in the output.
"""

import math

import torch
from torch import Tensor, nn

from mmattn import kernels
from mmattn.attention import checks
from mmattn.attention.base import Attention
from mmattn.kernels.primitive import cast, no_autocast
from mmattn.registry import MODELS

# The paper's, by the size of the kernel.
GROUPS = {1: 1, 3: 1, 5: 4, 7: 8, 9: 16}


class _Weights(nn.Module):
    """SE's gates, which all branches share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 16)
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, means: Tensor) -> Tensor:
        # In 16 bits the ReLU of a hidden layer this small lets others pass.
        with no_autocast(means):
            means = cast(means, self.fc1.weight.dtype)
            return self.fc2(self.fc1(means).relu()).sigmoid()


@MODELS.register_module()
class PSA(Attention):
    """Convolutions of several sizes, between which a softmax chooses channel by channel.

    Formula:
        f_i = conv_k_i(x), C/4 channels each; s_i = sigmoid(W2 relu(W1 mean_hw(f_i)))
        y = [f_4 a_4, ..., f_1 a_1], a = softmax over i of s

    Args:
        conv_kernels: Odd kernel size of each branch; their number divides C.
        conv_groups: Groups of each branch's convolution, which divide its channels; 'auto'
            takes as many of those that the paper has for the kernel size as do.
    """

    placement = 'inner'

    def __init__(
        self,
        in_channels: int,
        conv_kernels: tuple[int, ...] = (3, 5, 7, 9),
        conv_groups: tuple[int, ...] | str = (1, 4, 8, 16),
        warm_start: bool = False,
    ) -> None:
        super().__init__(in_channels, warm_start)
        sizes = checks.several(self, 'conv_kernels', conv_kernels)
        if conv_groups == 'auto':
            checks.multiple(self, len(sizes), f'is not a multiple of {len(sizes)} branches')
            width = in_channels // len(sizes)
            conv_groups = [math.gcd(width, GROUPS.get(size, 16)) for size in sizes]
        groups = checks.several(self, 'conv_groups', conv_groups)
        problem = f'conv_kernels={sizes} and conv_groups={groups} must be as many'
        checks.require(self, len(sizes) == len(groups), problem)
        for size, count in zip(sizes, groups, strict=True):
            checks.odd(self, 'conv_kernels', size)
            checks.positive(self, 'conv_groups', count)
        factor = len(sizes) * math.lcm(*groups)
        problem = f'is not a multiple of {factor}: {len(sizes)} branches in conv_groups={groups}'
        checks.multiple(self, factor, problem, ", or conv_groups='auto'")
        width = in_channels // len(sizes)
        for index, (size, count) in enumerate(zip(sizes, groups, strict=True)):
            conv = nn.Conv2d(in_channels, width, size, padding=size // 2, groups=count, bias=False)
            self.add_module(f'conv_{index + 1}', conv)
        self.branches = len(sizes)
        self.se = _Weights(width)

    def attend(self, x: Tensor) -> Tensor:
        convs = [getattr(self, f'conv_{i}') for i in range(self.branches, 0, -1)]
        features = torch.cat([conv(x) for conv in convs], 1)
        means = kernels.mean(features).unflatten(1, (self.branches, -1))  # (N, 4, C / 4)
        shares = self.se(means).softmax(1)
        return kernels.gate(features, channels=shares.flatten(1))
