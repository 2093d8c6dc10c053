"""Turning a published checkpoint into one that a backbone of mmattn loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

import mmattn
from mmattn.backbones.base import AttentionBackbone
from mmattn.backbones.loading import own_weights
from mmattn.registry import MODELS
from mmattn.utils.errors import UserError, did_you_mean
from mmattn.weights.attentions import block_class, read_attention
from mmattn.weights.source import CheckpointSource, KeyGroups, split_keys
from mmattn.weights.sources import SOURCES

COMPUTED = 'computed by the constructor'
CLASSIFIER = 'classifier (kept by --with-head)'
# Parts of mmdet's models.
MMDET = ('neck.', 'rpn_head.', 'roi_head.', 'bbox_head.', 'mask_head.')


class Conversion(NamedTuple):
    """A converted checkpoint; loads strictly into what ``config`` builds."""

    checkpoint: dict[str, Any]  # {'state_dict', 'meta'}
    config: dict[str, Any]  # the backbone, with a head the whole classifier
    mapped: dict[str, str]  # key of the source -> key in the state_dict
    left_out: dict[str, str]  # key of the source -> why
    added: list[str]  # keys that the source lacks and whose value does not matter


def find_source(name: str | None, keys: Mapping[str, Any], file: str) -> CheckpointSource:
    """The source called ``name``, or the one that the keys look like.

    Args:
        name: As given to ``--source``; None guesses.
        keys: The keys of the checkpoint.
        file: Its name, for messages.

    Raises:
        UserError: If there is no such source, or the keys are not its.
    """
    marked = [source for source in SOURCES.values() if source.has_mark(keys)]
    likely = min(marked, key=lambda source: source.commonness, default=None)
    if name is not None and name not in SOURCES:
        hint = did_you_mean(name, SOURCES, most=1, likeness=0.4)
        hint = f' {file} looks like {likely.name}.' if likely else hint
        raise UserError(f'unknown source {name!r}; valid: {", ".join(SOURCES)}.{hint}')
    if name is not None:
        source = SOURCES[name]
        fits = any(each in marked for each in (source, *(SOURCES[n] for n in source.alike)))
        # An attention that only the likely one has would be lost; SimAM has no keys to miss.
        if fits and set(likely.attention) <= set(source.attention):
            return source
    example = ', '.join(list(keys)[:4])
    if likely is None:
        raise UserError(
            f'{file} looks like no known source (its keys: {example} ...); valid: '
            f'{", ".join(SOURCES)}.'
        )
    if name is None:
        return likely
    raise UserError(
        f'{file} does not look like {name}, which has keys such as {SOURCES[name].example!r} '
        f'(its keys: {example} ...). It looks like {likely.name} ({likely.origin}): '
        f'--source {likely.name}'
    )


def convert_checkpoint(
    tensors: Mapping[str, Tensor],
    source: CheckpointSource,
    with_head: bool = False,
    file: str = 'the checkpoint',
) -> Conversion:
    """Rename the weights of a published model and check that they fit.

    Args:
        tensors: Key -> weights, see ``utils.checkpoints.unwrap``.
        source: Where they come from.
        with_head: Keep the classifier, as mmpretrain names it.
        file: Name of the file, for messages and ``meta``.

    Raises:
        UserError: If a key has no place in the backbone, or one of it is missing.
    """
    if any('.attn_after_' in key or '.attn_before_' in key for key in tensors):
        raise UserError(
            f'{file} comes from mmattn itself and needs no conversion: '
            f"init_cfg=dict(type='Pretrained', checkpoint={file!r}, prefix='backbone.')"
        )
    groups = split_keys({key: value.shape for key, value in tensors.items()})
    names, config = _recognise(groups, source)
    model = MODELS.build(dict(config))
    names = {key: name and _fill_slot(name, model) for key, name in names.items()}
    given = {key: tensors[groups.prefix + key] for key in names}
    in_slots = {name: given[key] for key, name in names.items() if name}
    if entries := read_attention(source, model, in_slots):
        config['attention'] = entries[0] if len(entries) == 1 else entries
        model = MODELS.build(dict(config))
    weights, names = own_weights(model, given, names)
    added = _load(model, weights, source, file)
    state = model.state_dict()

    mapped = {groups.prefix + key: name for key, name in names.items() if name}
    left_out = dict.fromkeys(groups.others, 'not of the backbone')
    left_out |= {groups.prefix + key: COMPUTED for key, name in names.items() if not name}
    if not with_head:
        left_out |= dict.fromkeys(groups.head, CLASSIFIER)
    else:
        config, head = _classifier(config, groups, tensors, model, file)
        state = {**{f'backbone.{key}': value for key, value in state.items()}, **head}
        mapped = {**{key: f'backbone.{name}' for key, name in mapped.items()}, **groups.head}
        added = [f'backbone.{key}' for key in added]
    meta = dict(
        source=source.name,
        converted_from=Path(file).name,
        mmattn_version=mmattn.__version__,
        model=config,
    )
    state = {key: value.clone() for key, value in state.items()}
    return Conversion(dict(state_dict=state, meta=meta), config, mapped, left_out, added)


def _recognise(
    groups: KeyGroups, source: CheckpointSource
) -> tuple[dict[str, str | None], dict[str, Any]]:
    """The keys' names in the network whose they are, and its config."""
    networks = {
        name: cls
        for name, cls in MODELS.module_dict.items()
        # What inherits it is one of the networks that its base tells apart.
        if issubclass(cls, AttentionBackbone) and 'config_from' in vars(cls)
    }
    from_mmdet = any(key.startswith(MMDET) for key in groups.others)
    with DefaultScope.overwrite_default_scope('mmdet' if from_mmdet else 'mmpretrain'):
        for cls in networks.values():
            own = cls.own_names(groups.backbone)
            names = {key: own.get(key, key) for key in groups.backbone}
            names = {key: name and source.rename(name) for key, name in names.items()}
            shapes = {name: groups.backbone[key] for key, name in names.items() if name}
            if (config := cls.config_from(shapes)) is not None:
                return names, config
    raise UserError(
        f'the keys are those of no backbone that can be told from weights '
        f'({", ".join(networks)}): {", ".join(list(groups.backbone)[:4])} ...'
    )


def _fill_slot(name: str, backbone: AttentionBackbone) -> str:
    """'attn_outer' -> the position where this backbone's blocks have outer attentions."""
    for placement, position in block_class(backbone).default_positions.items():
        name = name.replace(f'.attn_{placement}.', f'.attn_{position}.')
    return name


def _load(
    model: AttentionBackbone, weights: dict[str, Tensor], source: CheckpointSource, file: str
) -> list[str]:
    """Load strictly; returns the keys that were added: counters that old BatchNorms lack."""
    kind = f'{file} does not fit mmattn.{type(model).__name__} from {source.name}'
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:
        text = ' '.join(str(error).split())
        raise UserError(f'{kind}: {text}') from error
    if missing or unexpected:
        wrong = _some(unexpected, 'without a place in it'), _some(missing, 'missing')
        raise UserError(f'{kind}: {"; ".join(filter(None, wrong))}.')
    return [key for key in model.state_dict() if key not in weights]


def _some(keys: list[str], what: str, limit: int = 4) -> str:
    if not keys:
        return ''
    shown = ', '.join(sorted(keys)[:limit]) + (' ...' if len(keys) > limit else '')
    return f'{len(keys)} {"key" if len(keys) == 1 else "keys"} {what} ({shown})'


def _classifier(
    backbone: dict[str, Any],
    groups: KeyGroups,
    tensors: Mapping[str, Tensor],
    model: AttentionBackbone,
    file: str,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    head = {name: tensors[key].float() for key, name in groups.head.items()}
    weight = head.get('head.fc.weight')
    if weight is None or 'head.fc.bias' not in head:
        raise UserError(
            f'{file} has no classifier with a weight and a bias; leave out --with-head.'
        )
    with torch.no_grad():
        image = torch.zeros(1, backbone.get('in_channels', 3), 64, 64)
        features = model.eval()(image)[-1].shape[1]
    if weight.shape[1] != features:
        raise UserError(
            f'the classifier of {file} takes {weight.shape[1]} channels, the backbone has '
            f'{features}; leave out --with-head.'
        )
    head_cfg = dict(type='LinearClsHead', num_classes=weight.shape[0], in_channels=features)
    config = dict(
        type='ImageClassifier',
        backbone=backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(**head_cfg, loss=dict(type='CrossEntropyLoss')),
    )
    return config, head
