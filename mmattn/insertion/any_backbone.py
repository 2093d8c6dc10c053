"""Attention in any registered network."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS as ROOT_MODELS
from torch import nn

from mmattn.insertion.insert import insert_attention
from mmattn.registry import MODELS
from mmattn.utils.errors import InvalidArgument

# Sides of the largest map that a neck is run with.
SIDES = (64, 96)


@MODELS.register_module()
class AnyBackbone:
    """A stock network with attention in it: what is built is the network itself.

    Its keys, outputs, methods and arguments are the stock ones, so that it takes the place of
    the ``backbone`` of any config:
    ``backbone=dict(type='mmattn.AnyBackbone', network='CSPNeXt', attention=dict(type='SCSA'))``.

    Args:
        network: ``type`` of the network, resolved in the active default scope: of a toolbox,
            'TIMMBackbone', 'mmpretrain.ConvNeXt', ...
        attention: As in :func:`mmattn.insert_attention`: a dict or a list of dicts with
            ``type``, the attention's arguments, and optionally ``at``, ``position``,
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
                f"{cls.__name__} needs network=..., the type of the stock network: 'CSPNeXt', ..."
            )
        made = ROOT_MODELS.build(dict(type=network, **options))
        return insert_attention(
            made, [] if attention is None else attention, cls.inputs(options), freeze_attention
        )

    @staticmethod
    def inputs(options: Mapping[str, Any]) -> list[tuple] | None:
        """Arguments of calls that find the channels; None for images."""
        return None


@MODELS.register_module()
class AnyNeck(AnyBackbone):
    """The same for a neck, which takes a tuple of maps: ``network='CSPNeXtPAFPN'``.

    See :class:`AnyBackbone`. The channels are found with maps of ``in_channels`` channels, each
    half as large as the one before. Heads, whose layers several levels share, take it too, with
    ``at`` and ``channels``.
    """

    @staticmethod
    def inputs(options: Mapping[str, Any]) -> list[tuple] | None:
        channels = options.get('in_channels')
        if not isinstance(channels, Sequence):
            return None
        return [
            (tuple(torch.zeros(1, c, side >> i, side >> i) for i, c in enumerate(channels)),)
            for side in SIDES
        ]
