"""Attention modules: plain ``nn.Module``, (N, C, H, W) -> (N, C, H, W)."""

from mmattn.attention.base import Attention
from mmattn.attention.ca import CA
from mmattn.attention.cbam import CBAM
from mmattn.attention.cpca import CPCA
from mmattn.attention.eca import ECA
from mmattn.attention.ela import ELA
from mmattn.attention.ema import EMA
from mmattn.attention.fca import FCA
from mmattn.attention.sa import SA
from mmattn.attention.scsa import PCSA, SCSA, SMSA
from mmattn.attention.scse import CSE, SCSE, SSE
from mmattn.attention.se import SE
from mmattn.attention.simam import SimAM
from mmattn.attention.spatial_pooling_se import RGSE, SPSE

__all__ = [
    'CA',
    'CBAM',
    'CPCA',
    'CSE',
    'ECA',
    'ELA',
    'EMA',
    'FCA',
    'PCSA',
    'RGSE',
    'SA',
    'SCSA',
    'SCSE',
    'SE',
    'SMSA',
    'SPSE',
    'SSE',
    'Attention',
    'SimAM',
]
