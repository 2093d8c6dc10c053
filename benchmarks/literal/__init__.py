"""Every attention as its paper states it, one tensor operation after the other.

What the kernels are measured against (speed.py): plain PyTorch in the papers' order, nothing
merged, nothing reordered. Each takes the parameters of mmattn's attention of its name, under
the same keys; tests hold the outputs and gradients equal.
"""

from torch import nn

from literal.channel import CSE, ECA, FCA, RGSE, SE, SPSE
from literal.spatial import CBAM, CPCA, EMA, SA, SCSE, SSE, SimAM
from literal.strips import CA, ELA, PCSA, SCSA, SMSA

LITERALS = {
    cls.__name__: cls
    for cls in (
        *(CA, CBAM, CPCA, CSE, ECA, ELA, EMA, FCA, PCSA),
        *(RGSE, SA, SCSA, SCSE, SE, SMSA, SPSE, SSE, SimAM),
    )
}


def literal(attention: nn.Module, **arguments: int) -> nn.Module:
    """The literal implementation of one of mmattn's attentions, with a copy of its weights.

    Args:
        attention: It, built with its defaults and with ``arguments``.
        arguments: ``groups`` (SA), ``dct_size`` (FCA) or ``grid`` (RGSE).

    Raises:
        KeyError: If there is none of this name.
    """
    module = LITERALS[type(attention).__name__](attention.in_channels, **arguments)
    for parameter in attention.parameters():
        module.to(parameter)  # its dtype and device
    module.load_state_dict(attention.state_dict())
    return module.train(attention.training)
