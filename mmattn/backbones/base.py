"""What every mmattn backbone shares: freezing, train mode and loading of weights."""

import warnings
from collections.abc import Iterable, Iterator, Mapping

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.attention import Attention
from mmattn.utils.errors import InvalidArgument, InvalidValue

DEFAULT_INIT = [
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


def init_config(
    init_cfg: dict | list[dict] | None,
    pretrained: str | None,
    default: list[dict] | None,
) -> dict | list[dict] | None:
    """The ``init_cfg`` of a backbone that also takes the old ``pretrained``.

    Args:
        init_cfg: MMEngine's initialisation config.
        pretrained: Path of a checkpoint (old way to write ``init_cfg``).
        default: What applies without both.

    Raises:
        TypeError: If ``pretrained`` is not a path.
        ValueError: If both are given.
    """
    if pretrained is None:
        return default if init_cfg is None else init_cfg
    if init_cfg is not None:
        raise InvalidValue(
            f'init_cfg and pretrained={pretrained!r} cannot be given together; use init_cfg'
        )
    if not isinstance(pretrained, str):
        raise InvalidArgument(f'pretrained must be a path or None, got {pretrained!r}')
    warnings.warn(
        "pretrained is deprecated; use init_cfg=dict(type='Pretrained', checkpoint=...)",
        stacklevel=3,
    )
    return dict(type='Pretrained', checkpoint=pretrained)


def check_stage_numbers(name: str, numbers: Iterable[int], least: int, most: int) -> None:
    """Refuse a number of ``out_indices`` or ``frozen_stages`` that names no stage.

    Raises:
        ValueError: Naming the argument, its value and the valid range.
    """
    numbers = tuple(numbers)
    if any(number not in range(least, most + 1) for number in numbers):
        given = numbers if name == 'out_indices' else numbers[0]
        raise InvalidValue(f'{name} must be between {least} and {most}, got {given}')


class AttentionBackbone(BaseModule):
    """Base class of the backbones.

    Subclasses set ``frozen_stages``, ``norm_eval`` and ``freeze_attention``
    and implement :meth:`frozen_modules`. Frozen stages and ``norm_eval`` apply
    to stock layers; attention inside of them keeps training, since a stock
    config (``frozen_stages=1, norm_eval=True``) would otherwise freeze random
    attention for ever. ``freeze_attention=True`` freezes it as well.
    """

    frozen_stages: int
    norm_eval: bool
    freeze_attention: bool

    def __init__(self, *args, **options) -> None:
        """The arguments are those of the next base: a stock backbone, or BaseModule."""
        super().__init__(*args, **options)
        self._register_load_state_dict_pre_hook(_adopt_checkpoint, with_module=True)

    def frozen_modules(self) -> Iterator[nn.Module]:
        """The stem and the stages that ``frozen_stages`` freezes."""
        raise NotImplementedError

    def foreign_keys(self, names: set[str]) -> Mapping[str, str]:
        """Key prefixes of another toolbox's checkpoint -> ours.

        Args:
            names: The checkpoint's keys, without the backbone's prefix.
        """
        return {}

    def convert_checkpoint(self, state_dict: dict, prefix: str) -> None:
        """Change entries, in place, whose values differ and not only their names.

        Called before the keys are counted, with the names of :meth:`foreign_keys`
        replaced already.

        Args:
            state_dict: The checkpoint.
            prefix: What this backbone's keys begin with in it.
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


def _adopt_checkpoint(module: AttentionBackbone, state_dict: dict, prefix: str, *_) -> None:
    """Rename other toolboxes' keys, then report and check what will be loaded."""
    if not prefix and isinstance(state_dict.get('model'), Mapping):
        # Repositories outside of OpenMMLab keep the weights there.
        state_dict.update(state_dict.pop('model'))
    names = {key[len(prefix) :] for key in state_dict if key.startswith(prefix)}
    renamed = {}
    for old, new in module.foreign_keys(names).items():
        for name in names:
            if name.startswith(old):
                renamed[prefix + new + name[len(old) :]] = state_dict.pop(prefix + name)
    # All at once: a new name may be another key's old one.
    state_dict.update(renamed)
    module.convert_checkpoint(state_dict, prefix)

    slots = tuple(name + '.' for name, m in module.named_modules() if isinstance(m, Attention))
    own = {
        name: value.shape
        for name, value in module.state_dict().items()
        # Old checkpoints lack the counter of BatchNorm.
        if not name.endswith('num_batches_tracked')
    }
    given = {name: state_dict[prefix + name].shape for name in own if prefix + name in state_dict}
    stock = [name for name in own if not name.startswith(slots)]
    matched = [name for name in own if given.get(name) == own[name]]
    matched_stock = [name for name in matched if not name.startswith(slots)]
    # An adapted stem may differ; a tenth of wrong shapes is another depth or width.
    wrong = [name for name in stock if name in given and given[name] != own[name]]
    if 2 * len(matched_stock) < len(stock) or 10 * len(wrong) > len(stock):
        raise InvalidValue(
            f'the checkpoint does not fit {type(module).__name__}: {len(matched_stock)} of its '
            f'{len(stock)} stock keys match by name and shape. '
            + _explain_mismatch(own, given, wrong, state_dict, prefix)
        )
    print_log(
        f'{type(module).__name__}: the checkpoint matches {len(matched_stock)} of {len(stock)} '
        f'stock keys and {len(matched) - len(matched_stock)} of {len(own) - len(stock)} '
        f'attention keys',
        logger='current',
    )


def _explain_mismatch(
    own: dict, given: dict, wrong: list[str], state_dict: dict, prefix: str
) -> str:
    if wrong:
        name = wrong[0]
        return (
            f'{len(wrong)} have another shape, such as {name!r}: {tuple(given[name])} in the '
            f'checkpoint, {tuple(own[name])} in the model (another depth or width?)'
        )
    for key in state_dict:
        for name in own:
            if key != prefix + name and key.endswith('.' + name):
                return (
                    f'It has {key!r} where {prefix + name!r} is expected; '
                    f'load it with prefix={key[: -len(name)]!r}'
                )
    keys = [key for key in state_dict if key.startswith(prefix)] or list(state_dict)
    return f'Its keys look like {keys[:3]}, expected were keys like {list(own)[:3]}'
