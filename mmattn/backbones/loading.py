"""How a checkpoint comes into a backbone: names, values, and whether it fits.

One table of names for each backbone (:meth:`AttentionBackbone.own_names`) and each
attention (:meth:`Attention.own_name`) serves ``load_state_dict``, the check and the
converter of published checkpoints.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from mmengine.logging import print_log
from torch import Tensor, nn

from mmattn.attention import Attention
from mmattn.utils.errors import InvalidValue

Shapes = Mapping[str, Sequence[int]]
BARE_WEIGHTS = (
    'A file of bare backbone weights belongs into '
    "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)."
)


def blocks_by_stage(names: Iterable[str], pattern: str) -> list[list[str]]:
    """Prefixes of the blocks of each stage, both in order.

    Args:
        names: Names of weights.
        pattern: Of their beginnings, with groups for the prefix, stage and index.
    """
    stages: dict[int, dict[int, str]] = {}
    for match in filter(None, (re.match(pattern, name) for name in names)):
        stages.setdefault(int(match[2]), {})[int(match[3])] = match[1]
    return [[prefix for _, prefix in sorted(stages[stage].items())] for stage in sorted(stages)]


def attention_key(module: nn.Module, name: str) -> str | None:
    """A name in a model -> the same with the attentions' own names; None for what they compute."""
    if isinstance(module, Attention):
        name = module.name_when_loaded(name)
        if name is None:
            return None
    head, dot, rest = name.partition('.')
    child = module._modules.get(head)
    if child is None or not dot:
        return name
    rest = attention_key(child, rest)
    return None if rest is None else f'{head}.{rest}'


def own_weights(
    backbone: nn.Module, given: Mapping[str, Tensor], names: Mapping[str, str | None]
) -> tuple[dict[str, Tensor], dict[str, str | None]]:
    """Rename weights, those in the slots too, and adapt their values.

    Args:
        backbone: The backbone they are for.
        given: Their key -> tensor.
        names: Their key -> ours, with attention under its original's names; None for
            what the backbone computes.

    Returns:
        Our name -> tensor, and their key -> ours.
    """
    names = {key: name and attention_key(backbone, name) for key, name in names.items()}
    weights = {names[key]: value for key, value in given.items() if names[key] is not None}
    backbone.adapt_values(weights, names)
    return weights, names


def adopt_checkpoint(backbone: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    """Turn a checkpoint's entries into the backbone's own, in place, and check that they fit.

    A pre-hook of ``load_state_dict``.

    Raises:
        ValueError: If less than half of the stock weights are in the checkpoint.
    """
    if not prefix and isinstance(state_dict.get('model'), Mapping):
        # Repositories outside of OpenMMLab keep the weights there.
        state_dict.update(state_dict.pop('model'))
    given = {
        key[len(prefix) :]: value
        for key, value in state_dict.items()
        if key.startswith(prefix) and isinstance(value, Tensor)
    }
    names = backbone.own_names({name: value.shape for name, value in given.items()})
    weights, _ = own_weights(backbone, given, {name: names.get(name, name) for name in given})
    for name in given:
        del state_dict[prefix + name]
    state_dict.update({prefix + name: value for name, value in weights.items()})
    _check_fit(backbone, weights, prefix, list(state_dict))


def is_anothers(matched: int, misshapen: int, total: int) -> bool:
    """Whether a checkpoint is another network's.

    Args:
        matched: How many of the backbone's stock weights it has.
        misshapen: How many it has in another shape.
        total: How many there are.
    """
    # An adapted stem may differ; a tenth of wrong shapes is another depth or width.
    return 2 * matched < total or 10 * misshapen > total


def _check_fit(
    backbone: nn.Module, weights: Mapping[str, Tensor], prefix: str, keys: list[str]
) -> None:
    slots = tuple(f'{name}.' for name, m in backbone.named_modules() if isinstance(m, Attention))
    # Old checkpoints lack the counter of BatchNorm.
    counter = 'num_batches_tracked'
    own = {key: v for key, v in backbone.state_dict().items() if not key.endswith(counter)}
    stock = {name: value for name, value in own.items() if not name.startswith(slots)}
    given = [name for name in stock if name in weights]
    wrong = [name for name in given if weights[name].shape != own[name].shape]
    matched = len(given) - len(wrong)
    # Weights of attention may differ in dimensions of size 1.
    attention = sum(
        weights[name].numel() == own[name].numel()
        for name in weights.keys() & own.keys() - stock.keys()
    )
    kind = type(backbone).__name__
    if is_anothers(matched, len(wrong), len(stock)):
        raise InvalidValue(
            f'the checkpoint does not fit {kind}: {matched} of its {len(stock)} stock keys '
            f'match by name and shape. {_explain(stock, wrong, weights, prefix, keys)}'
        )
    print_log(
        f'{kind}: the checkpoint matches {matched} of {len(stock)} stock keys and '
        f'{attention} of {len(own) - len(stock)} attention keys',
        logger='current',
    )


def _explain(
    own: Mapping[str, Tensor],
    wrong: list[str],
    weights: Mapping[str, Tensor],
    prefix: str,
    keys: list[str],
) -> str:
    if wrong:
        name = wrong[0]
        return (
            f'{len(wrong)} have another shape, such as {name!r}: {tuple(weights[name].shape)} in '
            f'the checkpoint, {tuple(own[name].shape)} in the model (another depth or width?)'
        )
    if prefix and not weights:
        return f'It has no key that begins with {prefix!r}. {BARE_WEIGHTS}'
    for key in keys:
        for name in own:
            if key != prefix + name and key.endswith(f'.{name}'):
                return (
                    f'It has {key!r} where {prefix + name!r} is expected; '
                    f'load it with prefix={key[: -len(name)]!r}'
                )
    return (
        f'Its keys look like {(list(weights) or keys)[:3]}, expected were keys like {list(own)[:3]}'
    )
