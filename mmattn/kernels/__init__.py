"""Kernels: what every attention does to a whole map, each in as few reads and writes as it takes.

One function a primitive, with exact gradients and three implementations: pure PyTorch, C++
for CPUs, Triton for CUDA; see :mod:`mmattn.kernels.choice`.
"""

from mmattn.kernels.channel_pool import channel_pool
from mmattn.kernels.choice import implementation, using
from mmattn.kernels.combine import combine
from mmattn.kernels.crossed import crossed
from mmattn.kernels.gate import gate
from mmattn.kernels.mean_max import mean_max
from mmattn.kernels.means import mean, means
from mmattn.kernels.project import project
from mmattn.kernels.scsa import scsa
from mmattn.kernels.shuffle_gate import shuffle_gate
from mmattn.kernels.simam import simam
from mmattn.kernels.square_sum import square_sum
from mmattn.kernels.stripes import stripes
from mmattn.kernels.windows import window_means

__all__ = [
    'channel_pool',
    'combine',
    'crossed',
    'gate',
    'implementation',
    'mean',
    'mean_max',
    'means',
    'project',
    'scsa',
    'shuffle_gate',
    'simam',
    'square_sum',
    'stripes',
    'using',
    'window_means',
]
