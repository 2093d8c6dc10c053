"""What every mmattn backbone shares: defaults, freezing, train mode, names of weights."""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import Attention
from mmattn.backbones.loading import Shapes, adopt_checkpoint
from mmattn.utils.errors import InvalidArgument, InvalidValue

CONV_INIT = [
    dict(type='Kaiming', layer=['Conv2d']),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


def active_toolbox() -> str:
    """Whose defaults apply: 'mmdet', 'mmseg' or 'mmpretrain'.

    The active default scope says so; a toolbox built on mmdet takes mmdet's,
    anything else (or no scope) mmpretrain's.
    """
    scope = DefaultScope.get_current_instance()
    name = scope.scope_name if scope is not None else 'mmpretrain'
    if name in ('mmdet', 'mmyolo', 'mmrotate', 'mmdet3d', 'mmtrack'):
        return 'mmdet'
    return 'mmseg' if name == 'mmseg' else 'mmpretrain'


def _pretrained_init(pretrained: str, init_cfg: dict | list[dict] | None) -> dict:
    """The ``init_cfg`` that the old argument ``pretrained`` stands for."""
    if init_cfg is not None:
        raise InvalidValue(
            f'init_cfg and pretrained={pretrained!r} cannot be given together; use init_cfg'
        )
    if not isinstance(pretrained, str):
        raise InvalidArgument(f'pretrained must be a path or None, got {pretrained!r}')
    warnings.warn(
        "pretrained is deprecated; use init_cfg=dict(type='Pretrained', checkpoint=...)",
        stacklevel=4,
    )
    return dict(type='Pretrained', checkpoint=pretrained)


def check_stage_numbers(name: str, numbers: Iterable[int], least: int, most: int) -> None:
    """Refuse a number of ``out_indices`` or ``frozen_stages`` that names no stage."""
    numbers = tuple(numbers)
    if any(number not in range(least, most + 1) for number in numbers):
        given = numbers if name == 'out_indices' else numbers[0]
        raise InvalidValue(f'{name} must be between {least} and {most}, got {given}')


def check_per_stage(num_stages: int, **options: Sequence | None) -> None:
    """Refuse options, None excepted, that have not one entry for each stage."""
    for name, values in options.items():
        if values is not None and len(values) != num_stages:
            raise InvalidValue(
                f'{name} must have {num_stages} entries, one per stage, got {tuple(values)}'
            )


def either(what: str, **names: Any) -> Any:
    """The value of ``what`` under whichever of its names it is given; None if under none."""
    given = {name: value for name, value in names.items() if value is not None}
    first = next(iter(given.values()), None)
    if any(value != first for value in given.values()):
        text = ' and '.join(f'{name}={value}' for name, value in given.items())
        raise InvalidValue(f'{text} name the same {what}; give one of them')
    return first


class AttentionBackbone(BaseModule):
    """Base class of the backbones.

    What it takes, all of them take; what the backbones' own documentation leaves out is
    the stock class's of the same name or :class:`ResNet`'s.

    Frozen stages and ``norm_eval`` apply to stock layers; attention inside of them keeps
    training, since a stock config (``frozen_stages=1, norm_eval=True``) would otherwise
    freeze random attention for ever.

    Subclasses set ``frozen_stages`` and ``norm_eval``, check ``attention`` and ``plugins``
    by ``slots.parse_slots``, and call :meth:`freeze` when they are built.

    Args:
        args: Those of the next base: a stock backbone, or BaseModule.
        freeze_attention: Let ``frozen_stages`` and ``norm_eval`` apply to attention too.
        pretrained: Path of a checkpoint (old way to write ``init_cfg``).
        options: As ``args``; ``init_cfg``, MMEngine's initialisation config, among them.

    Raises:
        TypeError: If an argument is unknown, or ``pretrained`` no path.
        KeyError: If an attention, a depth or an arch is unknown.
        ValueError: If an argument is out of its range or contradicts another.
    """

    frozen_stages: int
    norm_eval: bool
    # What ``init_cfg=None`` stands for.
    default_init: ClassVar[list[dict] | None] = None
    # Of each stage, how often its features are halved after the first quarter.
    levels: ClassVar[Sequence[int]] = range(9)
    # Names of what is frozen with the stem, and with a stage (its number, from 1, put in).
    stem_names: Sequence[str] = ('conv1',)
    stage_names: Sequence[str] = ('layer{}',)

    def __init__(
        self, *args, freeze_attention: bool = False, pretrained: str | None = None, **options
    ) -> None:
        if pretrained is not None:
            options['init_cfg'] = _pretrained_init(pretrained, options.get('init_cfg'))
        super().__init__(*args, **options)
        if self.init_cfg is None:
            self.init_cfg = copy.deepcopy(self.default_init)
        self.freeze_attention = freeze_attention
        self._register_load_state_dict_pre_hook(adopt_checkpoint, with_module=True)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The stem and the stages that ``frozen_stages`` freezes."""
        if self.frozen_stages >= 0:
            yield from (getattr(self, name) for name in self.stem_names)
        for stage in range(1, self.frozen_stages + 1):
            yield from (getattr(self, name.format(stage)) for name in self.stage_names)

    @classmethod
    def own_names(cls, shapes: Shapes) -> Mapping[str, str | None]:
        """Names of the layers in other toolboxes' and repositories' checkpoints.

        Args:
            shapes: The checkpoint's keys, without the backbone's prefix -> shape.

        Returns:
            Their key -> ours, or None for what we compute; our own may be left out.
        """
        return {}

    @classmethod
    def config_from(cls, shapes: Shapes) -> dict[str, Any] | None:
        """The config that a checkpoint was trained with, without attention; None if it is not ours.

        Args:
            shapes: Our name -> shape; names in slots among them.

        Raises:
            UserError: If they are this network's, of a size that it does not have.
        """
        return None

    def adapt_values(self, weights: dict[str, Tensor], names: Mapping[str, str | None]) -> None:
        """Change, in place, weights of other checkpoints that differ in more than the name.

        Args:
            weights: Our name -> tensor.
            names: The checkpoint's key -> our name, or None.
        """

    def _stock_modules(self, module: nn.Module) -> Iterator[nn.Module]:
        """``module`` and its descendants, without attention unless it is frozen too."""
        if isinstance(module, Attention) and not self.freeze_attention:
            return
        yield module
        for child in module.children():
            yield from self._stock_modules(child)

    def freeze(self) -> None:
        """Put the frozen stages in eval mode and stop their gradients."""
        for frozen in self.frozen_modules():
            for module in self._stock_modules(frozen):
                # Not module.eval(), which would reach the attention below.
                module.training = False
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad = False

    def train(self, mode: bool = True) -> 'AttentionBackbone':
        """Set train or eval mode; frozen and ``norm_eval`` layers stay in eval mode."""
        # Not super(): the train() of a stock backbone would freeze attention too.
        nn.Module.train(self, mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self._stock_modules(self):
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
