"""Every attention as its paper states it, one tensor operation after the other.

What the kernels are measured against (speed.py): plain PyTorch in the papers' order, nothing
merged, nothing reordered. Each takes the parameters of mmattn's attention of its name, under
the same keys; tests hold the outputs and gradients equal.
"""

from typing import Any

from torch import nn

from literal.channel import CSE, ECA, FCA, RGSE, SE, SPSE
from literal.convolutions import LKA, LSK, LSKA, PSA, SK, CoT, ParNet
from literal.planes import BAM, GAM, MCA, SGE, Triplet
from literal.pooling import CAA, MixedPooling, StripPooling
from literal.positions import (
    A2,
    CAM,
    GC,
    PAM,
    CrissCross,
    DANet,
    External,
    NonLocal,
    ParallelPolarized,
    SequentialPolarized,
)
from literal.recalibration import ESE, GCT, GE, LCT, MLCA, NAM, SRM
from literal.spatial import CBAM, CPCA, EMA, SA, SCSE, SSE, SimAM
from literal.strips import CA, ELA, PCSA, SCSA, SMSA

LITERALS = {
    cls.__name__: cls
    for cls in (
        *(CA, CBAM, CPCA, CSE, ECA, ELA, EMA, FCA, PCSA),
        *(RGSE, SA, SCSA, SCSE, SE, SMSA, SPSE, SSE, SimAM),
        *(ESE, GCT, GE, LCT, MLCA, NAM, SRM, BAM, GAM, MCA, SGE, Triplet),
        *(A2, CAM, CrissCross, DANet, External, GC, NonLocal, PAM),
        *(ParallelPolarized, SequentialPolarized, CAA, MixedPooling, StripPooling),
        *(CoT, LKA, LSK, LSKA, ParNet, PSA, SK),
    )
}


def literal(attention: nn.Module, **arguments: Any) -> nn.Module:
    """The literal implementation of one of mmattn's attentions, with a copy of its weights.

    Args:
        attention: It, built with its defaults and with ``arguments``.
        arguments: ``groups`` (SA, SGE, LCT), ``dct_size`` (FCA), ``grid`` (RGSE) or
            ``conv_groups`` (PSA).

    Raises:
        KeyError: If there is none of this name.
    """
    module = LITERALS[type(attention).__name__](attention.in_channels, **arguments)
    for parameter in attention.parameters():
        module.to(parameter)  # its dtype and device
    module.load_state_dict(attention.state_dict())
    return module.train(attention.training)
