"""Attention in any registered network."""

from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.insertion import insert_attention
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidArgument


@MODELS.register_module()
class AnyBackbone:
    """A stock network with attention in it: what is built is the network itself.

    Its keys, outputs, methods and arguments are the stock ones, so that it takes the place of
    the ``backbone`` (or ``neck``) of any config:
    ``backbone=dict(type='mmattn.AnyBackbone', network='CSPNeXt', attention=dict(type='SCSA'))``.

    Args:
        network: ``type`` of the network, resolved in the active default scope: of a toolbox,
            'TIMMBackbone', 'mmpretrain.ConvNeXt', ...
        attention: As in :func:`mmattn.insertion.insert_attention`: a dict or a list of dicts
            with ``type``, the attention's arguments, and optionally ``at``, ``position``,
            ``stages``, ``blocks`` and ``channels``; None for the stock network.
        freeze_attention: Leave attention in frozen stages frozen, too.
        options: The stock network's own arguments.

    Raises:
        TypeError: If ``network`` is missing, or ``attention`` has another form.
        KeyError: If the network, an attention or a module is not there.
        ValueError: If attention cannot be put where it is asked for.
    """

    def __new__(
        cls,
        network: str | type | None = None,
        attention: dict | Sequence[dict] | None = None,
        freeze_attention: bool = False,
        **options: Any,
    ) -> nn.Module:
        if network is None:
            raise InvalidArgument(
                "AnyBackbone needs network=..., the type of the stock network: 'CSPNeXt', ..."
            )
        made = ROOT_MODELS.build(dict(type=network, **options))
        return insert_attention(
            made, [] if attention is None else attention, freeze_attention=freeze_attention
        )
